/** What the Python library computed, and how the tests compare with it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readTensors } from "../../../nbs/try/atlas.js";

/** All bytes of a file next to this one: ArrayBuffer. */
export function bytesOf(name) {
  const { buffer, byteOffset, length } = readFileSync(new URL(name, import.meta.url));
  return buffer.slice(byteOffset, byteOffset + length);
}

const { tensors, metadata } = readTensors(bytesOf("numbers.safetensors"));

/** Values of an array by its name: a typed array. */
export const numbers = (name) => tensors[name].data;

/** A setting by its name. */
export const fact = (name) => JSON.parse(metadata[name]);

/** Two seconds of speech at 16 kHz: Float32Array (32000). */
export const speech = Float32Array.from(numbers("samples"), (value) => value / 2 ** 15);

/** The largest distance between two arrays of equal length. */
export function distance(found, expected) {
  assert.equal(found.length, expected.length);
  let largest = 0;
  for (let i = 0; i < found.length; i++) {
    const gap = Math.abs(found[i] - expected[i]);
    if (!(gap <= largest)) largest = gap; // a NaN stays
  }
  return largest;
}

/** Fail unless two arrays differ by at most `tolerance` everywhere. */
export function near(found, expected, tolerance) {
  const gap = distance(found, expected);
  assert.ok(gap <= tolerance, `differs by ${gap}, allowed is ${tolerance}`);
}

/** Fail unless two arrays hold the same numbers, whatever their types. */
export function same(found, expected) {
  assert.deepEqual(Array.from(found, Number), Array.from(expected, Number));
}
