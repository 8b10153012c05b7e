/** The grid of 50 x 5 patches: cutting, putting together, and where each patch and window lies. */
import { HOP, MELS, SAMPLE_RATE, UNIT_FRAMES, hertzOfBand } from "./mel.js";

export const PATCH_FRAMES = 4; // frames of a patch
export const PATCH_MELS = 16; // mel bands of a patch
export const TIMES = UNIT_FRAMES / PATCH_FRAMES; // patches along time
export const BANDS = MELS / PATCH_MELS; // patches along frequency
export const PATCHES = TIMES * BANDS; // patches of a unit
export const PATCH_VALUES = PATCH_FRAMES * PATCH_MELS; // values of a patch
const FRAME_SECONDS = HOP / SAMPLE_RATE;

/** Call `copy(place in the patches, place in the spectrogram)` for each row of a patch. */
function forEachRow(copy) {
  for (let patch = 0; patch < PATCHES; patch++) {
    const corner = Math.floor(patch / BANDS) * PATCH_FRAMES * MELS + (patch % BANDS) * PATCH_MELS;
    for (let row = 0; row < PATCH_FRAMES; row++) {
      copy(patch * PATCH_VALUES + row * PATCH_MELS, corner + row * MELS);
    }
  }
}

/** Cut a spectrogram (200 x 80) into patches: Float32Array (250 x 64), time by time. */
export function patchify(values) {
  const patches = new Float32Array(PATCHES * PATCH_VALUES);
  forEachRow((to, from) => patches.set(values.subarray(from, from + PATCH_MELS), to));
  return patches;
}

/** Put patches (250 x 64) together to a spectrogram: Float32Array (200 x 80). */
export function unpatchify(patches) {
  const values = new Float32Array(UNIT_FRAMES * MELS);
  forEachRow((from, to) => values.set(patches.subarray(from, from + PATCH_MELS), to));
  return values;
}

/** Mean squared error of each patch, from two arrays of patches (250 x 64): Float32Array (250). */
export function patchErrors(original, rebuilt) {
  return Float32Array.from({ length: PATCHES }, (_, patch) => {
    let sum = 0;
    for (let i = patch * PATCH_VALUES; i < (patch + 1) * PATCH_VALUES; i++) {
      sum += (original[i] - rebuilt[i]) ** 2;
    }
    return sum / PATCH_VALUES;
  });
}

/**
 * Complete what is visible by what the model predicts.
 * @param {Float32Array} original patches (250 x 64), from `patchify`
 * @param {Float32Array} prediction patches (250 x 64), from the model
 * @param {Uint8Array} mask (250) 1 where a patch is hidden
 * @returns {Float32Array} patches (250 x 64): hidden ones from the prediction, others original
 */
export function composite(original, prediction, mask) {
  const result = Float32Array.from(original);
  for (let patch = 0; patch < PATCHES; patch++) {
    const [first, last] = [patch * PATCH_VALUES, (patch + 1) * PATCH_VALUES];
    if (mask[patch]) result.set(prediction.subarray(first, last), first);
  }
  return result;
}

/**
 * Where a patch lies.
 * @param {number} patch its number, time * 5 + band
 * @returns {{time: number, band: number, frames: number[], bands: number[], seconds: number[],
 *   hertz: number[]}} column and row in the grid, and [from, to) in each unit
 */
export function rectangle(patch) {
  const time = Math.floor(patch / BANDS);
  const band = patch % BANDS;
  const frames = [time * PATCH_FRAMES, (time + 1) * PATCH_FRAMES];
  const bands = [band * PATCH_MELS, (band + 1) * PATCH_MELS];
  const seconds = frames.map((frame) => frame * FRAME_SECONDS);
  const hertz = bands.map((edge) => hertzOfBand(edge - 0.5));
  return { time, band, frames, bands, seconds, hertz };
}

/** The window of `size` patches that `patch` lies in: its patches are [first, last). */
export function windowOf(patch, size) {
  const first = Math.floor(patch / size) * size;
  return [first, first + size];
}

/**
 * How much of the sound a window shows.
 * @param {number} size its patches
 * @returns {{patches: number, seconds: number, hertz: string, words: string}} its length, what it
 *   covers along frequency, and all of it in a phrase such as `10 patches, 80 ms, all frequencies`
 */
export function windowSize(size) {
  const columns = Math.ceil(size / BANDS);
  const seconds = columns * PATCH_FRAMES * FRAME_SECONDS;
  const length = seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds} s`;
  const hertz = size < BANDS ? `${size} of ${BANDS} frequency ranges` : "all frequencies";
  const patches = size === 1 ? "1 patch" : `${size} patches`;
  return { patches: size, seconds, hertz, words: `${patches}, ${length}, ${hertz}` };
}
