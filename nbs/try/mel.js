/** The log-mel spectrogram that the model hears, and the units it hears at a time. */
import { makeFft } from "./fft.js";

export const SAMPLE_RATE = 16000; // samples a second
export const HOP = 160; // samples from one frame to the next
export const WINDOW = 400; // samples of a frame
export const BINS = WINDOW / 2 + 1; // frequencies of a frame
export const MELS = 80; // mel bands
export const UNIT_FRAMES = 200; // frames of a unit, 2 seconds
export const EPSILON = 2 ** -23; // added to the power of a band before its logarithm
const SHORTEST = WINDOW / 2 + 1; // samples that a reflection at the edges needs
const [LOWEST, HIGHEST] = [50, 8000]; // hertz

const toMel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const toHertz = (mel) => 700 * (10 ** (mel / 2595) - 1);
const MEL_STEP = (toMel(HIGHEST) - toMel(LOWEST)) / (MELS + 1);

/** The frequency in hertz at a place on the mel axis, in bands: the middle of band b is at b. */
export function hertzOfBand(band) {
  return toHertz(toMel(LOWEST) + (band + 1) * MEL_STEP);
}

/** The place on the mel axis, in bands, of a frequency in hertz. */
export function bandOfHertz(hertz) {
  return (toMel(hertz) - toMel(LOWEST)) / MEL_STEP - 1;
}

/** The periodic Hann window: Float64Array (400). */
export function hannWindow() {
  return Float64Array.from({ length: WINDOW }, (_, i) => Math.sin((Math.PI * i) / WINDOW) ** 2);
}

/** The weight of every frequency in every band: Float64Array (201 x 80). */
export function melFilters() {
  const filters = new Float64Array(BINS * MELS);
  for (let band = 0; band < MELS; band++) {
    const [low, middle, high] = [band - 1, band, band + 1].map(hertzOfBand);
    for (let bin = 0; bin < BINS; bin++) {
      const hertz = (bin * SAMPLE_RATE) / WINDOW;
      const rising = (hertz - low) / (middle - low);
      const falling = (high - hertz) / (high - middle);
      const weight = Math.min(rising, falling);
      filters[bin * MELS + band] = weight > 1e-9 ? weight : 0; // less is rounding, at 8000 Hz
    }
  }
  return filters;
}

/** The same weights without the zeros: for each band its first frequency and its weights. */
export function sparseFilters() {
  const filters = melFilters();
  return Array.from({ length: MELS }, (_, band) => {
    const column = Array.from({ length: BINS }, (_weight, bin) => filters[bin * MELS + band]);
    const first = column.findIndex((weight) => weight > 0);
    const last = column.findLastIndex((weight) => weight > 0);
    return { first, weights: Float64Array.from(column.slice(first, last + 1)) };
  });
}

/** The sound with 200 samples of its own reflection at both ends: Float64Array (samples + 400). */
export function padReflected(samples) {
  const [half, last] = [WINDOW / 2, samples.length - 1];
  const padded = new Float64Array(samples.length + WINDOW);
  for (let i = 0; i < padded.length; i++) {
    const at = Math.abs(i - half);
    padded[i] = samples[at > last ? 2 * last - at : at];
  }
  return padded;
}

const HANN = hannWindow();
const FILTERS = sparseFilters();
const FFT = makeFft(WINDOW);

/**
 * Log-mel spectrogram of a sound; one shorter than 201 samples is filled up with zeros.
 * @param {Float32Array|Float64Array} samples sound at 16 kHz between -1 and 1
 * @returns {{values: Float32Array, frames: number, mels: number}} values (frames x 80), with
 *   1 + floor(samples / 160) frames
 */
export function logMel(samples) {
  let sound = samples;
  if (sound.length < SHORTEST) {
    sound = new Float64Array(SHORTEST);
    sound.set(samples);
  }
  const padded = padReflected(sound);
  const frames = 1 + Math.floor(sound.length / HOP);
  const values = new Float32Array(frames * MELS);
  const [re, im] = [new Float64Array(WINDOW), new Float64Array(WINDOW)];
  for (let frame = 0; frame < frames; frame++) {
    for (let i = 0; i < WINDOW; i++) re[i] = padded[frame * HOP + i] * HANN[i];
    im.fill(0);
    FFT.forward(re, im);
    for (let band = 0; band < MELS; band++) {
      const { first, weights } = FILTERS[band];
      let power = 0;
      for (let i = 0; i < weights.length; i++) {
        const bin = first + i;
        power += weights[i] * (re[bin] * re[bin] + im[bin] * im[bin]);
      }
      values[frame * MELS + band] = Math.log(power + EPSILON);
    }
  }
  return { values, frames, mels: MELS };
}

/**
 * Bring values to mean 0 and (unbiased) standard deviation 1.
 * @param {Float32Array} values any shape
 * @returns {{values: Float32Array, mean: number, deviation: number}} `original = standardised *
 *   deviation + mean`
 */
export function standardise(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / (values.length - 1)) + 1e-8;
  return { values: values.map((value) => (value - mean) / deviation), mean, deviation };
}

/** The frame that stands in for frame `wanted` of a sound of `length` frames, by reflection. */
export function reflectedFrame(wanted, length) {
  const last = Math.max(length - 1, 1);
  return Math.min(Math.abs(((wanted + last) % (2 * last)) - last), length - 1);
}

/**
 * One unit of a spectrogram, continued by reflection where the sound is too short.
 * @param {{values: Float32Array, frames: number, mels: number}} spectrogram from `logMel`
 * @param {number} first its first frame
 * @returns {Float32Array} (200 x 80)
 */
export function unit(spectrogram, first = 0) {
  const { values, frames, mels } = spectrogram;
  const result = new Float32Array(UNIT_FRAMES * mels);
  for (let frame = 0; frame < UNIT_FRAMES; frame++) {
    const from = reflectedFrame(first + frame, frames) * mels;
    result.set(values.subarray(from, from + mels), frame * mels);
  }
  return result;
}
