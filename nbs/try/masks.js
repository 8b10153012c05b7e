/** Which patches are hidden: random masks from a seed, and changes by hand. */
import { BANDS, PATCHES, TIMES } from "./patches.js";

/** A generator of uniform numbers from 0 to 1 (without 1) from a whole number as seed. */
export function mulberry32(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How many of `patches` patches stay visible when `hiddenShare` (0 to below 1) is hidden. */
export function visibleCount(hiddenShare, patches = PATCHES) {
  if (!(hiddenShare >= 0 && hiddenShare < 1)) {
    throw new RangeError(`the hidden share is ${hiddenShare}, expected 0 to below 1`);
  }
  const whole = 100_000_000; // millionths of a per cent
  const visible = Math.floor((patches * (whole - Math.round(hiddenShare * whole))) / whole);
  return Math.max(1, visible);
}

/**
 * Draw a mask: one uniform number for each patch; those with the smallest stay visible.
 * @param {number} seed any whole number
 * @param {number} hiddenShare share of patches to hide, 0 to below 1
 * @param {number} patches how many there are
 * @returns {Uint8Array} (patches) 1 where a patch is hidden
 */
export function drawMask(seed, hiddenShare, patches = PATCHES) {
  const random = mulberry32(seed);
  const noise = Float64Array.from({ length: patches }, random);
  const order = Array.from(noise.keys()).sort((a, b) => noise[a] - noise[b]);
  const mask = new Uint8Array(patches).fill(1);
  for (const patch of order.slice(0, visibleCount(hiddenShare, patches))) mask[patch] = 0;
  return mask;
}

/** The numbers of the visible patches, ascending: BigInt64Array (k), as the model takes them. */
export function visibleOf(mask) {
  const visible = [];
  mask.forEach((hidden, patch) => {
    if (!hidden) visible.push(BigInt(patch));
  });
  return BigInt64Array.from(visible);
}

/**
 * Hide or show one patch. The last visible patch stays: the model needs one.
 * @param {Uint8Array} mask (patches), left as it is
 * @param {number} patch which one
 * @param {boolean} hide whether to hide it
 * @returns {Uint8Array} a new mask, or `mask` itself if nothing changes
 */
export function brush(mask, patch, hide) {
  const value = hide ? 1 : 0;
  if (mask[patch] === value) return mask;
  const visible = mask.reduce((count, hidden) => count + 1 - hidden, 0);
  if (hide && visible === 1) return mask;
  const changed = Uint8Array.from(mask);
  changed[patch] = value;
  return changed;
}

/**
 * The patch under a point of a picture of the grid, low frequencies at the bottom.
 * @param {number} x distance from the left edge, y from the top edge, as `width` and `height`
 * @returns {number} its number, or -1 outside the picture
 */
export function patchAt(x, y, width, height) {
  if (!(x >= 0 && y >= 0 && x < width && y < height)) return -1;
  const time = Math.floor((x / width) * TIMES);
  const band = BANDS - 1 - Math.floor((y / height) * BANDS);
  return time * BANDS + band;
}

/** The patch `times` columns later and `bands` rows higher, at most at the edge of the grid. */
export function neighbour(patch, times, bands) {
  const limit = (value, last) => Math.min(Math.max(value, 0), last);
  const time = limit(Math.floor(patch / BANDS) + times, TIMES - 1);
  const band = limit((patch % BANDS) + bands, BANDS - 1);
  return time * BANDS + band;
}

/** All patches on the straight line from one patch to another, both included: number[]. */
export function stroke(from, to) {
  const times = Math.floor(to / BANDS) - Math.floor(from / BANDS);
  const bands = (to % BANDS) - (from % BANDS);
  const steps = Math.max(Math.abs(times), Math.abs(bands), 1);
  const line = Array.from({ length: steps + 1 }, (_, i) =>
    neighbour(from, Math.round((times * i) / steps), Math.round((bands * i) / steps)),
  );
  return [...new Set(line)];
}
