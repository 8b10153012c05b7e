import assert from "node:assert/strict";
import { test } from "node:test";
import { drawMask } from "../../../nbs/try/masks.js";
import { MELS, UNIT_FRAMES } from "../../../nbs/try/mel.js";
import { readMetadata } from "../../../nbs/try/metadata.js";
import { PATCHES, PATCH_VALUES, patchify } from "../../../nbs/try/patches.js";
import { cutClip, firstHeard, judge, sceneEmbedding } from "../../../nbs/try/state.js";
import { fact, near, same, numbers, speech } from "./expected.js";

test("a short sound is standardised as in the library, then reflected", () => {
  const { clip, spectrogram } = cutClip(speech.subarray(0, 8000), 0);
  const expected = numbers("standardised_8000"); // 51 frames
  assert.equal(clip.length, 8000);
  assert.equal(spectrogram.length, UNIT_FRAMES * MELS);
  near(spectrogram.subarray(0, expected.length), expected, 1e-4);
  const frame = (number) => spectrogram.subarray(number * MELS, (number + 1) * MELS);
  same(frame(51), frame(49));
  same(frame(100), frame(0));
});

test("two seconds are cut out where they should begin", () => {
  const longer = new Float32Array(50000);
  longer.set(speech, 9000);
  const { begin, clip, scale } = cutClip(longer, 9000);
  assert.equal(begin, 9000);
  same(clip, speech);
  near([scale.mean, scale.deviation], [fact("mean"), fact("deviation")], 1e-4);
  assert.equal(firstHeard(longer), 0); // within the first two seconds
});

test("a prediction is judged where patches are hidden", () => {
  const { spectrogram } = cutClip(speech, 0);
  const mask = drawMask(1, 0.8);
  const original = patchify(spectrogram);
  const prediction = original.map((value) => value + 2);
  const { rebuilt, errors, loss } = judge(spectrogram, mask, prediction);
  near(errors, new Float32Array(PATCHES).fill(4), 1e-5);
  near([loss], [4], 1e-5);
  const moved = patchify(rebuilt).map((value, i) => value - original[i]);
  const expected = moved.map((_, i) => 2 * mask[Math.floor(i / PATCH_VALUES)]);
  near(moved, expected, 1e-5);
});

test("the embedding of a scene is the mean over time, bands side by side", () => {
  const width = 3;
  const features = Float32Array.from({ length: PATCHES * width }, (_, i) => {
    const [patch, channel] = [Math.floor(i / width), i % width];
    return Math.floor(patch / 5) + 100 * (patch % 5) + 1000 * channel;
  });
  const expected = Array.from(
    { length: 15 },
    (_, i) => 24.5 + 100 * Math.floor(i / 3) + 1000 * (i % 3),
  );
  near(sceneEmbedding(features), expected, 1e-2);
});

/** A field of a protobuf message. */
function field(number, bytes) {
  const length = [];
  let rest = bytes.length;
  for (; rest > 127; rest >>= 7) length.push((rest & 127) | 128);
  return [number * 8 + 2, ...length, rest, ...bytes];
}

test("the model's metadata are found among other fields", () => {
  const text = (words) => Array.from(new TextEncoder().encode(words));
  const pair = (key, value) => field(14, [...field(1, text(key)), ...field(2, text(value))]);
  const own = JSON.stringify({ blocks: 4, windows: [2, 250], words: "x".repeat(300) });
  const model = [8, 0x88, 1, ...field(7, new Array(1000).fill(255)), ...pair("other", "{}")];
  const bytes = Uint8Array.from([...model, ...pair("mwmae", own)]);
  assert.deepEqual(readMetadata(bytes.buffer), JSON.parse(own));
  const without = Uint8Array.from(model).buffer;
  assert.throws(() => readMetadata(without), /does not say what shape/);
});
