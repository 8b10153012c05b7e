import assert from "node:assert/strict";
import { test } from "node:test";
import {
  brush,
  drawMask,
  mulberry32,
  neighbour,
  patchAt,
  stroke,
  visibleCount,
  visibleOf,
} from "../../../nbs/try/masks.js";
import { PATCHES } from "../../../nbs/try/patches.js";
import { fact, numbers, same } from "./expected.js";

fact("masks").forEach(([seed, share], i) => {
  test(`seed ${seed}, ${share} hidden: numbers and mask are those of the library`, () => {
    const random = mulberry32(seed);
    same(Array.from({ length: 8 }, random), numbers("uniform").subarray(8 * i, 8 * i + 8));
    same(drawMask(seed, share), numbers("masks").subarray(PATCHES * i, PATCHES * (i + 1)));
  });
});

test("as many patches stay visible as in the library", () => {
  const counts = Array.from({ length: 96 }, (_, percent) => visibleCount(percent / 100));
  same(counts, numbers("visible"));
});

test("one patch stays visible, and a share that makes no sense is refused", () => {
  assert.equal(visibleCount(0.9999), 1);
  for (const share of [-0.1, 1, NaN]) {
    assert.throws(() => visibleCount(share), /the hidden share is .*, expected 0 to below 1/);
  }
});

test("the model gets the visible patches in ascending order", () => {
  const mask = drawMask(5, 0.8);
  const visible = visibleOf(mask);
  assert.ok(visible instanceof BigInt64Array);
  assert.equal(visible.length, 50);
  const expected = Array.from(mask.keys()).filter((patch) => !mask[patch]);
  same(visible, expected);
});

test("the brush changes one patch of a copy", () => {
  const mask = drawMask(1, 0.5);
  const before = Uint8Array.from(mask);
  const changed = brush(mask, 9, !mask[9]);
  same(mask, before);
  const places = Array.from(mask.keys()).filter((patch) => mask[patch] !== changed[patch]);
  assert.deepEqual(places, [9]);
  assert.equal(brush(changed, 9, Boolean(changed[9])), changed);
});

test("the brush leaves the last visible patch", () => {
  const mask = new Uint8Array(PATCHES).fill(1);
  mask[17] = 0;
  assert.equal(brush(mask, 17, true), mask);
  assert.equal(brush(mask, 18, false)[18], 0);
});

test("the patch under a point, low frequencies at the bottom", () => {
  assert.equal(patchAt(0, 99, 500, 100), 0);
  assert.equal(patchAt(0, 0, 500, 100), 4);
  assert.equal(patchAt(499, 99, 500, 100), 245);
  assert.equal(patchAt(15, 50, 500, 100), 7);
  for (const [x, y] of [
    [-1, 5],
    [5, -1],
    [500, 5],
    [5, 100],
    [NaN, 5],
  ]) {
    assert.equal(patchAt(x, y, 500, 100), -1);
  }
});

test("neighbours stop at the edge", () => {
  assert.equal(neighbour(12, 1, 0), 17);
  assert.equal(neighbour(12, 0, 1), 13);
  assert.equal(neighbour(14, 0, 1), 14);
  assert.equal(neighbour(2, -1, -9), 0);
  assert.equal(neighbour(249, 3, 0), 249);
});

test("a stroke leaves no gaps", () => {
  assert.deepEqual(stroke(3, 3), [3]);
  assert.deepEqual(stroke(0, 24), [0, 6, 12, 18, 24]);
  assert.deepEqual(stroke(22, 2), [22, 17, 12, 7, 2]);
  assert.equal(stroke(0, 249).length, 50);
});
