/** Pictures of spectrograms, their patches and windows, and of waveforms. */
import { MELS, UNIT_FRAMES } from "./mel.js";
import { BANDS, PATCHES, PATCH_FRAMES, PATCH_MELS, TIMES } from "./patches.js";

const STOPS =
  "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962" +
  " 84d44b addc30 d8e219 fde725";

/** The colours of viridis, the chapters' scale, from low to high: Uint8Array (256 x 3). */
const COLOURS = (() => {
  const stops = STOPS.split(" ").map((stop) =>
    [0, 2, 4].map((i) => parseInt(stop.slice(i, i + 2), 16)),
  );
  const colours = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      colours[3 * i + c] = stops[left][c] + (place - left) * (stops[left + 1][c] - stops[left][c]);
    }
  }
  return colours;
})();

/** Lowest and highest value of an array. */
export function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/**
 * Paint a spectrogram, low frequencies at the bottom; hidden patches stay transparent.
 * @param {HTMLCanvasElement} canvas gets one pixel for each value
 * @param {Float32Array|null} values (200 x 80); null paints nothing
 * @param {number[]} limits values of the lowest and the highest colour
 * @param {Uint8Array} [mask] (250) 1 where a patch is not painted
 */
export function paint(canvas, values, [low, high], mask) {
  canvas.width = UNIT_FRAMES;
  canvas.height = MELS;
  if (!values) return;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(UNIT_FRAMES, MELS);
  const scale = 255 / (high - low || 1);
  for (let frame = 0; frame < UNIT_FRAMES; frame++) {
    for (let mel = 0; mel < MELS; mel++) {
      const patch = Math.floor(frame / PATCH_FRAMES) * BANDS + Math.floor(mel / PATCH_MELS);
      if (mask?.[patch]) continue;
      const value = (values[frame * MELS + mel] - low) * scale;
      const colour = 3 * Math.round(Math.min(Math.max(value, 0), 255));
      const at = 4 * ((MELS - 1 - mel) * UNIT_FRAMES + frame);
      picture.data.set(COLOURS.subarray(colour, colour + 3), at);
      picture.data[at + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

/**
 * Paint one number for each patch as a small picture of 50 x 5 points.
 * @param {HTMLCanvasElement} canvas the picture
 * @param {Float32Array} values (250) from 0 to 1
 * @param {number[]} colour red, green and blue, 0 to 255
 * @param {[number, number]} [shown] only the patches [first, last), whose ground is tinted
 */
export function paintPatches(canvas, values, colour, shown = [0, PATCHES]) {
  canvas.width = TIMES;
  canvas.height = BANDS;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(TIMES, BANDS);
  for (let patch = shown[0]; patch < shown[1]; patch++) {
    const row = BANDS - 1 - (patch % BANDS);
    const at = 4 * (row * TIMES + Math.floor(patch / BANDS));
    picture.data.set(colour, at);
    picture.data[at + 3] = Math.round(40 + 215 * Math.sqrt(values[patch]));
  }
  context.putImageData(picture, 0, 0);
}

/** The lines between all patches, as an SVG path in a box of 50 x 5. */
export function gridPath() {
  let path = "";
  for (let time = 1; time < TIMES; time++) path += `M${time},0V${BANDS}`;
  for (let band = 1; band < BANDS; band++) path += `M0,${band}H${TIMES}`;
  return path;
}

/**
 * The outline of neighbouring patches, as an SVG path in a box of 50 x 5.
 * @param {number} first the first patch
 * @param {number} last the patch after the last
 */
export function outlinePath(first, last) {
  const inside = (time, band) => {
    const patch = time * BANDS + band;
    return band >= 0 && band < BANDS && patch >= first && patch < last;
  };
  let path = "";
  for (let patch = first; patch < last; patch++) {
    const [time, band] = [Math.floor(patch / BANDS), patch % BANDS];
    const top = BANDS - 1 - band;
    if (!inside(time - 1, band)) path += `M${time},${top}v1`;
    if (!inside(time + 1, band)) path += `M${time + 1},${top}v1`;
    if (!inside(time, band + 1)) path += `M${time},${top}h1`;
    if (!inside(time, band - 1)) path += `M${time},${top + 1}h1`;
  }
  return path;
}

/**
 * A waveform as an SVG path in a box from 0 to 600 and from -1 to 1.
 * @param {Float32Array} samples the sound
 */
export function wavePath(samples) {
  const columns = Math.min(600, samples.length);
  const peak = Math.max(...range(samples).map(Math.abs)) || 1;
  let path = "";
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * samples.length) / columns);
    const to = Math.floor(((column + 1) * samples.length) / columns);
    const [low, high] = range(samples.subarray(from, Math.max(to, from + 1)));
    const x = (((column + 0.5) * 600) / columns).toFixed(1);
    path += `M${x},${(-high / peak - 0.01).toFixed(3)}V${(-low / peak + 0.01).toFixed(3)}`;
  }
  return path;
}
