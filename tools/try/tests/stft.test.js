import assert from "node:assert/strict";
import { test } from "node:test";
import { BINS } from "../../../nbs/try/mel.js";
import { istft, stft } from "../../../nbs/try/stft.js";
import { near, numbers, speech } from "./expected.js";

test("the spectrum is that of PyTorch", () => {
  const { re, im, frames } = stft(speech.subarray(0, 8000));
  assert.equal(frames, 51);
  for (const [name, part] of [
    ["stft_re", re],
    ["stft_im", im],
  ]) {
    numbers("stft_frames").forEach((frame, i) => {
      const expected = numbers(name).subarray(i * BINS, (i + 1) * BINS);
      near(part.subarray(frame * BINS, (frame + 1) * BINS), expected, 1e-4);
    });
  }
});

for (const length of [201, 320, 7777, 32000]) {
  test(`${length} samples come back`, () => {
    const samples = speech.subarray(0, length);
    near(istft(stft(samples), length), samples, 1e-12);
  });
}

test("what a sound cannot have at 0 and 8000 Hz is left out", () => {
  const spectrum = stft(speech.subarray(0, 800));
  const expected = istft(spectrum);
  for (let frame = 0; frame < spectrum.frames; frame++) {
    for (const bin of [0, BINS - 1]) spectrum.im[frame * BINS + bin] = frame + 1;
  }
  near(istft(spectrum), expected, 0);
});

test("without a length, the sound ends in the middle of the last frame", () => {
  assert.equal(istft(stft(speech.subarray(0, 7777))).length, 7680);
});
