import assert from "node:assert/strict";
import { test } from "node:test";
import { makeFit } from "../../../nbs/try/bands.js";
import {
  griffinLim,
  knownSpectrum,
  melToMagnitude,
  rebuildSound,
  silenceHidden,
} from "../../../nbs/try/griffin.js";
import { drawMask } from "../../../nbs/try/masks.js";
import { BINS, MELS, UNIT_FRAMES, logMel, melFilters, unit } from "../../../nbs/try/mel.js";
import { PATCHES } from "../../../nbs/try/patches.js";
import { stft } from "../../../nbs/try/stft.js";
import { distance, fact, near, speech } from "./expected.js";

const wanted = logMel(speech);

/** Mean distance of two log-mel spectrograms, over the places where `counts` is not 0. */
function meanError(found, expected, counts = new Uint8Array(found.length).fill(1)) {
  let [sum, total] = [0, 0];
  counts.forEach((count, i) => {
    sum += count * Math.abs(found[i] - expected[i]);
    total += count;
  });
  return sum / total;
}

/** Distance of a sound's magnitudes from those given, relative to these. */
function convergence(samples, magnitude) {
  const { re, im } = stft(samples);
  let [gap, size] = [0, 0];
  magnitude.forEach((value, i) => {
    gap += (Math.hypot(re[i], im[i]) - value) ** 2;
    size += value ** 2;
  });
  return Math.sqrt(gap / size);
}

/** A mask of patches, spread over a spectrogram (200 x 80). */
function spreadMask(mask) {
  return Uint8Array.from({ length: UNIT_FRAMES * MELS }, (_, i) => {
    const [frame, band] = [Math.floor(i / MELS), i % MELS];
    return mask[Math.floor(frame / 4) * 5 + Math.floor(band / 16)];
  });
}

test("magnitudes are not negative and have the bands they are made from", () => {
  const magnitude = melToMagnitude(wanted.values);
  const filters = melFilters();
  assert.ok(magnitude.every((value) => value >= 0));
  const bands = new Float64Array(wanted.values.length);
  for (let i = 0; i < bands.length; i++) {
    const [frame, band] = [Math.floor(i / MELS), i % MELS];
    for (let bin = 0; bin < BINS; bin++) {
      bands[i] += magnitude[frame * BINS + bin] ** 2 * filters[bin * MELS + band];
    }
  }
  assert.ok(
    meanError(
      bands.map((power) => Math.log(power + 2 ** -23)),
      wanted.values,
    ) < 0.03,
  );
});

test("a spectrogram far too loud still gives finite magnitudes", () => {
  const magnitude = melToMagnitude(new Float32Array(MELS).fill(1e6));
  assert.ok(magnitude.every(Number.isFinite));
});

test("fitting brings power closer to its bands", () => {
  const filters = melFilters();
  const target = new Float64Array(MELS).fill(1);
  const power = Float64Array.from({ length: BINS }, (_, bin) => 1 + (bin % 7));
  const gap = () =>
    target.reduce((sum, value, band) => {
      const found = power.reduce((all, p, bin) => all + p * filters[bin * MELS + band], 0);
      return sum + found - value - value * Math.log(found / value);
    }, 0);
  const gaps = [gap()];
  for (let i = 0; i < 3; i++) {
    makeFit()(power, 0, target, 1);
    gaps.push(gap());
  }
  assert.ok(gaps[1] < gaps[0] && gaps[2] < gaps[1] && gaps[3] < gaps[2], gaps.join(" "));
});

test("the power of silence is zero", () => {
  const magnitude = melToMagnitude(new Float32Array(MELS).fill(Math.log(2 ** -23)));
  near(magnitude, new Float64Array(BINS), 1e-6);
});

test("a steady tone needs no rounds, and goes on from where it is known", () => {
  const tone = Float64Array.from({ length: 16000 }, (_, i) => 0.5 * Math.sin(0.4 * i));
  const { re, im, frames } = stft(tone);
  const magnitude = re.map((value, i) => Math.hypot(value, im[i]));
  const free = griffinLim({ magnitude, iterations: 0 });
  assert.ok(convergence(free, magnitude) < 0.12);
  const mask = Uint8Array.from({ length: re.length }, (_, i) => (i < (frames / 2) * BINS ? 1 : 0));
  const guided = griffinLim({ magnitude, known: { re, im, mask }, iterations: 0 });
  near(guided.subarray(8000, 12000), tone.subarray(8000, 12000), 0.05);
});

test("Griffin-Lim comes close to the magnitudes", () => {
  const magnitude = melToMagnitude(wanted.values);
  assert.ok(convergence(griffinLim({ magnitude }), magnitude) < 0.08);
});

test("with the bands it comes closer to the spectrogram than the library's inversion", () => {
  const magnitude = melToMagnitude(wanted.values);
  const plain = griffinLim({ magnitude });
  const fitted = griffinLim({ magnitude, logmel: wanted.values });
  const [far, close] = [plain, fitted].map((sound) =>
    meanError(logMel(sound).values, wanted.values),
  );
  assert.ok(close < far, `${close} with the bands, ${far} without`);
  assert.ok(close < 0.5 * fact("inversion_error"), `${close}`);
});

test("the same seed gives the same sound, another seed another", () => {
  const magnitude = melToMagnitude(wanted.values.subarray(0, 30 * MELS));
  const [first, again, other] = [3, 3, 4].map((seed) => griffinLim({ magnitude, seed }));
  assert.equal(distance(first, again), 0);
  assert.ok(distance(first, other) > 1e-3);
});

test("what is known of the spectrum is where patches are visible", () => {
  const mask = new Uint8Array(PATCHES).fill(1);
  mask[10] = 0; // third column, lowest frequencies
  const known = knownSpectrum(speech, mask).mask;
  assert.deepEqual(
    [7, 8, 11, 12].map((frame) => known[frame * BINS + 1]),
    [0, 1, 1, 0],
  );
  const column = Array.from(known.subarray(8 * BINS, 9 * BINS));
  assert.deepEqual([column[0], column[9], column[100], column[200]], [1, 1, 0, 0]);
});

test("the highest frequency belongs to the highest patches", () => {
  const mask = new Uint8Array(PATCHES).fill(1);
  mask[14] = 0;
  const known = knownSpectrum(speech, mask).mask.subarray(8 * BINS, 9 * BINS);
  assert.deepEqual([known[0], known[100], known[190], known[200]], [0, 0, 1, 1]);
});

test("with all patches visible, the sound is the sound", () => {
  const mask = new Uint8Array(PATCHES);
  for (const length of [150, 7777, 32000]) {
    const samples = speech.subarray(0, length);
    const spectrogram = unit(logMel(samples), 0);
    near(rebuildSound({ spectrogram, samples, mask }), samples, 1e-6);
    near(silenceHidden({ samples, mask }), samples, 1e-6);
  }
});

test("with one patch hidden, the sound stays what it was away from it", () => {
  const mask = new Uint8Array(PATCHES);
  mask[100] = 1; // from 0.8 s to 0.84 s
  const spectrogram = unit(wanted, 0);
  const sound = rebuildSound({ spectrogram, samples: speech, mask });
  near(sound.subarray(0, 12400), speech.subarray(0, 12400), 1e-6);
  near(sound.subarray(13900), speech.subarray(13900), 1e-6);
  assert.ok(distance(sound, speech) > 1e-3);
});

test("hidden patches are silent when only visible ones are heard", () => {
  const mask = drawMask(1, 0.8);
  const heard = logMel(silenceHidden({ samples: speech, mask })).values;
  const hidden = spreadMask(mask);
  const fall = wanted.values.map((value, i) => value - heard[i]).subarray(0, hidden.length);
  const zeros = new Float32Array(fall.length);
  const visible = hidden.map((value) => 1 - value);
  const [quieter, kept] = [meanError(fall, zeros, hidden), meanError(fall, zeros, visible)];
  assert.ok(quieter > 2 && kept < 0.5, `${quieter} quieter where hidden, ${kept} where visible`);
});

for (const share of [0.5, 0.8, 0.95]) {
  test(`with ${share} hidden, known parts stay and hidden ones have their bands`, () => {
    const mask = drawMask(1, share);
    const given = { spectrogram: unit(wanted, 0), samples: speech, mask };
    const began = process.cpuUsage();
    const sound = rebuildSound(given);
    const { user, system } = process.cpuUsage(began); // microseconds; the clock would count others
    const found = logMel(sound).values.subarray(0, UNIT_FRAMES * MELS);
    const hidden = spreadMask(mask);
    const visible = hidden.map((value) => 1 - value);
    const errors = [hidden, visible].map((counts) => meanError(found, given.spectrogram, counts));
    assert.ok(errors[0] < 0.12, `hidden: ${errors[0]}`);
    assert.ok(errors[1] < 0.06, `visible: ${errors[1]}`);
    assert.ok(user + system < 1.5e6, `took ${(user + system) / 1000} ms of a processor`);
  });
}

test("a quiet sound stays quiet to its end", () => {
  const samples = speech.map((value) => value / 1000);
  const mask = drawMask(3, 0.95);
  const sound = rebuildSound({ spectrogram: unit(logMel(samples), 0), samples, mask });
  const peak = Math.max(...sound.subarray(-200).map(Math.abs));
  assert.ok(peak < 1e-3, `${peak}`);
});

test("a prediction that makes no sense gives a finite sound", () => {
  const mask = drawMask(2, 0.9);
  const spectrogram = Float32Array.from({ length: 16000 }, (_, i) => (i % 3) * 500 - 500);
  const sound = rebuildSound({ spectrogram, samples: speech, mask, iterations: 5 });
  assert.ok(sound.every(Number.isFinite));
});
