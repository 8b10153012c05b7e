/** From mel bands back to the magnitudes of all frequencies. */
import { BINS, EPSILON, MELS, sparseFilters } from "./mel.js";

const LOUDEST = 10; // log power of a band, more than any sound between -1 and 1 has
const TINY = 1e-16;
const FILTERS = sparseFilters();
const TOTAL = spread(new Float64Array(MELS).fill(1), new Float64Array(BINS));

/** Sum up for each frequency the numbers of its bands, by the filters: (80) -> (201). */
function spread(bands, result) {
  result.fill(0);
  FILTERS.forEach(({ first, weights }, band) => {
    for (let i = 0; i < weights.length; i++) result[first + i] += weights[i] * bands[band];
  });
  return result;
}

/** The power of each band from that of the frequencies of one frame, which start at `at`. */
function gather(power, at, result) {
  FILTERS.forEach(({ first, weights }, band) => {
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += weights[i] * power[at + first + i];
    result[band] = sum;
  });
  return result;
}

/**
 * Make a function `(power, at, target, updates)` that brings the power of one frame closer to
 * bands: power (frames x 201) changes in place from `at` on, target holds 80 bands.
 */
export function makeFit() {
  const bands = new Float64Array(MELS);
  const factors = new Float64Array(BINS);
  return (power, at, target, updates) => {
    for (let update = 0; update < updates; update++) {
      gather(power, at, bands);
      for (let band = 0; band < MELS; band++) bands[band] = target[band] / (bands[band] + TINY);
      spread(bands, factors);
      for (let bin = 0; bin < BINS; bin++) {
        power[at + bin] = TOTAL[bin] ? (power[at + bin] * factors[bin]) / TOTAL[bin] : 0;
      }
    }
  };
}

/** Power of the bands (frames x 80) of a log-mel spectrogram, at least `least`. */
export function bandPower(logmel, least) {
  return Float64Array.from(logmel, (value) =>
    Math.max(Math.exp(Math.min(value, LOUDEST)) - EPSILON, least),
  );
}

/**
 * Magnitudes whose bands are those of a log-mel spectrogram: non-negative least divergence by
 * multiplicative updates (Lee and Seung 2001), from a smooth start.
 * @param {Float32Array} logmel (frames x 80) natural logarithm of power, not standardised
 * @param {number} updates rounds
 * @returns {Float64Array} (frames x 201)
 */
export function melToMagnitude(logmel, updates = 20) {
  const frames = logmel.length / MELS;
  const target = bandPower(logmel, 0);
  const power = new Float64Array(frames * BINS);
  const sizes = FILTERS.map(({ weights }) => weights.reduce((sum, weight) => sum + weight, 0));
  const fit = makeFit();
  for (let frame = 0; frame < frames; frame++) {
    const bands = target.subarray(frame * MELS, (frame + 1) * MELS);
    const smooth = power.subarray(frame * BINS, (frame + 1) * BINS);
    spread(
      bands.map((value, band) => value / sizes[band]),
      smooth,
    );
    for (let bin = 0; bin < BINS; bin++) smooth[bin] = TOTAL[bin] ? smooth[bin] / TOTAL[bin] : 0;
    fit(power, frame * BINS, bands, updates);
  }
  return power.map(Math.sqrt);
}
