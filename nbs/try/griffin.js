/** Phases for magnitudes by fast Griffin-Lim, and what is heard of a masked unit. */
import { bandPower, makeFit, melToMagnitude } from "./bands.js";
import { mulberry32 } from "./masks.js";
import { BINS, HOP, MELS, UNIT_FRAMES, WINDOW, sparseFilters } from "./mel.js";
import { BANDS, PATCH_FRAMES, PATCH_MELS, TIMES } from "./patches.js";
import { emptySpectrum, istft, stft } from "./stft.js";

export { melToMagnitude };
const MOMENTUM = 0.99; // of fast Griffin-Lim (Perraudin, Balazs and Sondergaard 2013)
const REFIT = 4; // rounds after which the magnitudes are fitted to the bands again
const UNIT_SAMPLES = 32000; // 2 seconds
const ROW = rowOfBins();

/** Phases of one frame from those of the frame before: each peak turns at its own frequency. */
function turnPeaks(magnitude, at, phase) {
  for (let bin = 1; bin < BINS - 1; bin++) {
    const below = magnitude[at + bin - 1];
    const peak = magnitude[at + bin];
    const above = magnitude[at + bin + 1];
    if (!(peak > below && peak >= above)) continue;
    const ratio = Math.max(below, above, peak / 2) / peak; // of a tone in a Hann window:
    const offset = (Math.sign(above - below) * (2 * ratio - 1)) / (ratio + 1);
    const turned = phase[bin] + (2 * Math.PI * HOP * (bin + offset)) / WINDOW;
    let first = bin;
    let last = bin;
    while (first > 0 && magnitude[at + first - 1] < magnitude[at + first]) first--;
    while (last < BINS - 1 && magnitude[at + last + 1] < magnitude[at + last]) last++;
    for (let k = first; k <= last; k++) phase[k] = turned + Math.PI * ((k - bin) & 1);
  }
}

/** A first spectrum: phases go on from frame to frame (Beauregard, Harish and Wyse 2015). */
function firstSpectrum(magnitude, known, seed) {
  const spectrum = emptySpectrum(magnitude.length / BINS);
  const random = mulberry32(seed);
  const phase = Float64Array.from({ length: BINS }, () => 2 * Math.PI * random());
  for (let frame = 0; frame < spectrum.frames; frame++) {
    const at = frame * BINS;
    for (let bin = 0; frame && known && bin < BINS; bin++) {
      const before = at - BINS + bin;
      if (known.mask[before]) phase[bin] = Math.atan2(known.im[before], known.re[before]);
    }
    turnPeaks(magnitude, at, phase);
    for (let bin = 0; bin < BINS; bin++) {
      spectrum.re[at + bin] = magnitude[at + bin] * Math.cos(phase[bin]);
      spectrum.im[at + bin] = magnitude[at + bin] * Math.sin(phase[bin]);
    }
  }
  return spectrum;
}

/** Put the known values back in place. */
function restore(spectrum, known) {
  if (!known) return;
  for (let i = 0; i < known.mask.length; i++) {
    if (!known.mask[i]) continue;
    spectrum.re[i] = known.re[i];
    spectrum.im[i] = known.im[i];
  }
}

/** Change magnitudes to those of a real sound's spectrum, fitted to the bands. */
function refit(magnitude, actual, bands, fit) {
  for (let i = 0; i < magnitude.length; i++) {
    magnitude[i] = actual.re[i] ** 2 + actual.im[i] ** 2 + 1e-12;
  }
  for (let frame = 0; frame < actual.frames; frame++) {
    fit(magnitude, frame * BINS, bands.subarray(frame * MELS, (frame + 1) * MELS), 2);
  }
  for (let i = 0; i < magnitude.length; i++) magnitude[i] = Math.sqrt(magnitude[i]);
}

/**
 * Fast Griffin-Lim: a sound with given magnitudes, and with given spectrum where it is known.
 * @param {object} given
 * @param {Float64Array} given.magnitude (frames x 201), from `melToMagnitude`
 * @param {Float32Array} [given.logmel] (frames x 80); with it the magnitudes follow the sound as
 *   far as the bands stay the same, which comes closer to the bands
 * @param {{re: Float64Array, im: Float64Array, mask: Uint8Array}} [given.known] (frames x 201)
 *   each; mask is 1 where the spectrum is known
 * @param {number} [given.iterations] rounds
 * @param {number} [given.seed] of the first frame's phases
 * @param {number} [given.length] samples, (frames - 1) * 160 to 159 more
 * @returns {Float32Array} (length) samples at 16 kHz
 */
export function griffinLim({ magnitude, logmel, known, iterations = 60, seed = 1, length }) {
  const wanted = Float64Array.from(magnitude);
  const bands = logmel ? bandPower(logmel, 1e-9) : null;
  const fit = makeFit();
  const spectrum = firstSpectrum(wanted, known, seed);
  const { re, im, frames } = spectrum;
  const actual = emptySpectrum(frames);
  const before = emptySpectrum(frames);
  restore(spectrum, known);
  for (let round = 1; round <= iterations; round++) {
    stft(istft(spectrum, length), actual);
    if (bands && round % REFIT === 0) refit(wanted, actual, bands, fit);
    for (let i = 0; i < re.length; i++) {
      const x = actual.re[i] + MOMENTUM * (actual.re[i] - before.re[i]);
      const y = actual.im[i] + MOMENTUM * (actual.im[i] - before.im[i]);
      const scale = wanted[i] / (Math.sqrt(x * x + y * y) + 1e-16);
      re[i] = x * scale;
      im[i] = y * scale;
      before.re[i] = actual.re[i];
      before.im[i] = actual.im[i];
    }
    restore(spectrum, known);
  }
  return Float32Array.from(istft(spectrum, length));
}

/** The row of patches that each frequency belongs to, by the filters: Uint8Array (201). */
function rowOfBins() {
  const weight = Array.from({ length: BANDS }, () => new Float64Array(BINS));
  sparseFilters().forEach(({ first, weights }, band) => {
    const row = weight[Math.floor(band / PATCH_MELS)];
    weights.forEach((value, i) => (row[first + i] += value));
  });
  const rows = Uint8Array.from({ length: BINS }, (_, bin) => {
    const shares = weight.map((row) => row[bin]);
    return shares.indexOf(Math.max(...shares));
  });
  return rows.fill(BANDS - 1, BINS - 1); // no filter reaches 8000 Hz; 0 and 40 Hz are in row 0
}

/** The first 2 seconds of a sound, filled up with zeros to the 201 samples a frame needs. */
function unitSamples(samples) {
  const length = Math.min(samples.length, UNIT_SAMPLES);
  const sound = new Float64Array(Math.max(length, WINDOW / 2 + 1));
  sound.set(samples.subarray(0, length));
  return { sound, length };
}

/**
 * The spectrum of a unit, and where patches are visible in it.
 * @param {Float32Array|Float64Array} samples the unit's sound, at least 201 samples
 * @param {Uint8Array} mask (250) 1 where a patch is hidden
 * @returns {{re: Float64Array, im: Float64Array, frames: number, mask: Uint8Array}}
 *   (frames x 201) each; this mask is 1 where the spectrum is visible
 */
export function knownSpectrum(samples, mask) {
  const spectrum = stft(samples);
  const known = Uint8Array.from({ length: spectrum.re.length }, (_, i) => {
    const time = Math.min(Math.floor(i / BINS / PATCH_FRAMES), TIMES - 1);
    return 1 - mask[time * BANDS + ROW[i % BINS]];
  });
  return { ...spectrum, mask: known };
}

/**
 * The visible patches alone.
 * @param {object} given
 * @param {Float32Array} given.samples the unit's sound at 16 kHz, from its first frame on
 * @param {Uint8Array} given.mask (250) 1 where a patch is hidden
 * @returns {Float32Array} as many samples, at most 32,000
 */
export function silenceHidden({ samples, mask }) {
  const { sound, length } = unitSamples(samples);
  const known = knownSpectrum(sound, mask);
  for (let i = 0; i < known.mask.length; i++) {
    known.re[i] *= known.mask[i];
    known.im[i] *= known.mask[i];
  }
  return Float32Array.from(istft(known, length));
}

/**
 * The unit with its hidden patches invented: the spectrum is kept where patches are visible.
 * @param {object} given
 * @param {Float32Array} given.spectrogram (200 x 80) log-mel, not standardised, with the hidden
 *   patches from the model
 * @param {Float32Array} given.samples the unit's sound at 16 kHz, from its first frame on
 * @param {Uint8Array} given.mask (250) 1 where a patch is hidden
 * @param {number} [given.iterations] rounds of Griffin-Lim
 * @param {number} [given.seed] of the first phases
 * @returns {Float32Array} as many samples, at most 32,000
 */
export function rebuildSound({ spectrogram, samples, mask, iterations, seed }) {
  const { sound, length } = unitSamples(samples);
  const known = knownSpectrum(sound, mask);
  const logmel = new Float32Array(known.frames * MELS);
  for (let frame = 0; frame < known.frames; frame++) {
    const from = Math.min(frame, UNIT_FRAMES - 1) * MELS; // the last frame of 2 s twice
    logmel.set(spectrogram.subarray(from, from + MELS), frame * MELS);
  }
  const magnitude = melToMagnitude(logmel);
  const options = { iterations, seed, length: sound.length };
  return griffinLim({ magnitude, logmel, known, ...options }).subarray(0, length);
}
