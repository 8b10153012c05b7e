import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BINS,
  MELS,
  UNIT_FRAMES,
  bandOfHertz,
  hertzOfBand,
  logMel,
  melFilters,
  reflectedFrame,
  sparseFilters,
  standardise,
  unit,
} from "../../../nbs/try/mel.js";
import { fact, near, numbers, same, speech } from "./expected.js";

for (const length of fact("lengths")) {
  test(`log-mel of ${length} samples is that of the library`, () => {
    const { values, frames, mels } = logMel(speech.subarray(0, length));
    assert.deepEqual([frames, mels], [1 + Math.floor(length / 160), 80]);
    near(values, numbers(`logmel_${length}`), 1e-3);
  });
}

for (const length of [100, 8000]) {
  test(`the standardised spectrogram of ${length} samples is that of the library`, () => {
    const { values } = standardise(logMel(speech.subarray(0, length)).values);
    near(values, numbers(`standardised_${length}`), 1e-4);
  });
}

test("mean and deviation of two seconds are those of the library", () => {
  const two = unit(logMel(speech), 0);
  const { values, mean, deviation } = standardise(two);
  near([mean, deviation], [fact("mean"), fact("deviation")], 1e-4);
  near(
    values.map((value) => value * deviation + mean),
    two,
    1e-5,
  );
});

test("silence has one value everywhere, and stays finite when standardised", () => {
  const { values } = logMel(new Float32Array(400));
  near(values, new Float32Array(values.length).fill(Math.log(2 ** -23)), 1e-6);
  near(standardise(values).values, new Float32Array(values.length), 1);
});

test("filters are those of the library", () => {
  const filters = melFilters();
  const places = Array.from(filters.keys()).filter((i) => filters[i] > 0);
  same(places, numbers("filter_places"));
  const weights = places.map((i) => filters[i]);
  near(weights, numbers("filter_weights"), 1e-4);
});

test("filters without their zeros hold the same weights", () => {
  const filters = new Float64Array(BINS * MELS);
  sparseFilters().forEach(({ first, weights }, band) => {
    weights.forEach((weight, i) => (filters[(first + i) * MELS + band] = weight));
  });
  same(filters, melFilters());
});

test("the mel axis is that of the library", () => {
  near(Array.from(numbers("hertz"), bandOfHertz), numbers("bands"), 1e-9);
  near(Array.from(numbers("bands"), hertzOfBand), numbers("hertz"), 1e-6);
});

test("a short sound is continued by the library's reflection", () => {
  const expected = numbers("reflected");
  fact("reflected").forEach(([first, length], i) => {
    const frames = Array.from({ length: UNIT_FRAMES }, (_, k) => reflectedFrame(first + k, length));
    same(frames, expected.subarray(i * UNIT_FRAMES, (i + 1) * UNIT_FRAMES));
  });
});

test("a unit takes whole frames, reflected at the end", () => {
  const frames = 150;
  const values = Float32Array.from({ length: frames * MELS }, (_, i) => i);
  const cut = unit({ values, frames, mels: MELS }, 100);
  assert.equal(cut.length, UNIT_FRAMES * MELS);
  same(cut.subarray(0, MELS), values.subarray(100 * MELS, 101 * MELS));
  same(cut.subarray(50 * MELS, 51 * MELS), values.subarray(148 * MELS, 149 * MELS));
});
