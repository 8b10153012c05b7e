import assert from "node:assert/strict";
import { test } from "node:test";
import {
  PATCHES,
  PATCH_VALUES,
  composite,
  patchErrors,
  patchify,
  rectangle,
  unpatchify,
  windowOf,
  windowSize,
} from "../../../nbs/try/patches.js";
import { fact, near, numbers, same } from "./expected.js";

const picture = Float32Array.from(numbers("picture"));
const patches = Float32Array.from(numbers("patches"));

test("patches are in the library's order", () => {
  same(patchify(picture), patches);
});

test("patches make the picture again", () => {
  same(unpatchify(patches), picture);
});

test("the error of a patch is its mean squared error", () => {
  const rebuilt = Float32Array.from(patches);
  rebuilt[3 * PATCH_VALUES] += 8;
  const errors = patchErrors(patches, rebuilt);
  assert.equal(errors.length, PATCHES);
  assert.equal(errors[3], 1);
  assert.equal(
    errors.reduce((sum, error) => sum + error),
    1,
  );
});

test("hidden patches come from the prediction, the others stay", () => {
  const mask = new Uint8Array(PATCHES);
  mask[1] = mask[249] = 1;
  const prediction = new Float32Array(patches.length).fill(-1);
  const whole = composite(patches, prediction, mask);
  for (let patch = 0; patch < PATCHES; patch++) {
    const part = [patch * PATCH_VALUES, (patch + 1) * PATCH_VALUES];
    same(whole.slice(...part), (mask[patch] ? prediction : patches).slice(...part));
  }
  same(patches, numbers("patches"));
});

test("rectangles tile two seconds and all frequencies", () => {
  const first = rectangle(0);
  assert.deepEqual(
    [first.frames, first.bands],
    [
      [0, 4],
      [0, 16],
    ],
  );
  const last = rectangle(PATCHES - 1);
  assert.deepEqual([last.time, last.band], [49, 4]);
  near(last.seconds, [1.96, 2], 1e-12);
  assert.deepEqual(rectangle(7).hertz[1], rectangle(8).hertz[0]);
  const [lowest, highest] = [first.hertz[0], last.hertz[1]];
  assert.ok(lowest > 50 && lowest < 80 && highest > 7500 && highest < 8000);
});

test("windows are those in which the library attends", () => {
  const expected = numbers("windows");
  fact("sizes").forEach((size, head) => {
    for (let patch = 0; patch < PATCHES; patch++) {
      const at = (head * PATCHES + patch) * 2;
      same(windowOf(patch, size), expected.subarray(at, at + 2));
    }
  });
});

test("the size of a window in words", () => {
  assert.equal(windowSize(2).words, "2 patches, 40 ms, 2 of 5 frequency ranges");
  assert.equal(windowSize(5).words, "5 patches, 40 ms, all frequencies");
  assert.equal(windowSize(25).words, "25 patches, 200 ms, all frequencies");
  assert.deepEqual(windowSize(250), {
    patches: 250,
    seconds: 2,
    hertz: "all frequencies",
    words: "250 patches, 2 s, all frequencies",
  });
});
