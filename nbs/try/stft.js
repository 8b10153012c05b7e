/** Short-time Fourier transform with the spectrogram's frames, and back. */
import { makeFft } from "./fft.js";
import { BINS, HOP, WINDOW, hannWindow, padReflected } from "./mel.js";

const HANN = hannWindow();
const FFT = makeFft(WINDOW);
const HALF = WINDOW / 2;
const sums = new Map(); // of the number of frames asked for last
const partR = new Float64Array(WINDOW);
const partI = new Float64Array(WINDOW);

/** An empty spectrum of `frames` frames: {re, im} Float64Array (frames x 201), and `frames`. */
export function emptySpectrum(frames) {
  return { re: new Float64Array(frames * BINS), im: new Float64Array(frames * BINS), frames };
}

/**
 * Complex spectrum of a sound: Hann windows of 400 samples, every 160, centred, edges reflected.
 * @param {Float32Array|Float64Array} samples more than 200
 * @param {{re: Float64Array, im: Float64Array, frames: number}} spectrum where to put it
 * @returns {{re: Float64Array, im: Float64Array, frames: number}} re and im (frames x 201), with
 *   1 + floor(samples / 160) frames
 */
export function stft(samples, spectrum = emptySpectrum(1 + Math.floor(samples.length / HOP))) {
  const padded = padReflected(samples);
  const { re, im, frames } = spectrum;
  for (let frame = 0; frame < frames; frame += 2) {
    const pair = frame + 1 < frames; // two frames share one complex transform
    for (let i = 0; i < WINDOW; i++) {
      const at = frame * HOP + i;
      partR[i] = padded[at] * HANN[i];
      partI[i] = pair ? padded[at + HOP] * HANN[i] : 0;
    }
    FFT.forward(partR, partI);
    const first = frame * BINS;
    for (let bin = 0; bin < BINS; bin++) {
      const mirror = bin ? WINDOW - bin : 0;
      re[first + bin] = (partR[bin] + partR[mirror]) / 2;
      im[first + bin] = (partI[bin] - partI[mirror]) / 2;
      if (pair) {
        re[first + BINS + bin] = (partI[bin] + partI[mirror]) / 2;
        im[first + BINS + bin] = (partR[mirror] - partR[bin]) / 2;
      }
    }
  }
  return spectrum;
}

/** Fill `partR` and `partI` with two frames of a spectrum, the second as imaginary part. */
function joinPair({ re, im, frames }, frame) {
  const first = frame * BINS;
  const second = frame + 1 < frames ? first + BINS : -1;
  for (let bin = 0; bin < BINS; bin++) {
    const real = bin === 0 || bin === HALF; // these two have no imaginary part in a sound
    const aR = re[first + bin];
    const aI = real ? 0 : im[first + bin];
    const bR = second < 0 ? 0 : re[second + bin];
    const bI = second < 0 || real ? 0 : im[second + bin];
    partR[bin] = aR - bI;
    partI[bin] = aI + bR;
    if (!real) {
      partR[WINDOW - bin] = aR + bI;
      partI[WINDOW - bin] = bR - aI;
    }
  }
}

/** Sum of the squared windows over every sample of `frames` frames: Float64Array. */
function windowSum(frames) {
  if (sums.has(frames)) return sums.get(frames);
  const sum = new Float64Array((frames - 1) * HOP + WINDOW);
  for (let frame = 0; frame < frames; frame++) {
    for (let i = 0; i < WINDOW; i++) sum[frame * HOP + i] += HANN[i] ** 2;
  }
  sums.clear();
  sums.set(frames, sum);
  return sum;
}

/**
 * The sound whose spectrum is closest to the one given, in least squares.
 * @param {{re: Float64Array, im: Float64Array, frames: number}} spectrum re and im (frames x 201)
 * @param {number} length its samples, at most (frames - 1) * 160 + 200
 * @returns {Float64Array} (length)
 */
export function istft(spectrum, length = (spectrum.frames - 1) * HOP) {
  const { frames } = spectrum;
  const weight = windowSum(frames);
  const sum = new Float64Array(weight.length + HOP);
  for (let frame = 0; frame < frames; frame += 2) {
    joinPair(spectrum, frame);
    FFT.inverse(partR, partI);
    for (let i = 0; i < WINDOW; i++) {
      sum[frame * HOP + i] += partR[i] * HANN[i];
      sum[frame * HOP + HOP + i] += partI[i] * HANN[i];
    }
  }
  const samples = new Float64Array(length);
  for (let i = 0; i < length; i++) samples[i] = sum[i + HALF] / Math.max(weight[i + HALF], 1e-3);
  return samples;
}
