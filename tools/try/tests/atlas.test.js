import assert from "node:assert/strict";
import { test } from "node:test";
import { place, readTensors } from "../../../nbs/try/atlas.js";
import { bytesOf, near, numbers, same } from "./expected.js";

const KINDS = {
  U8: Uint8Array,
  I16: Int16Array,
  I32: Int32Array,
  I64: BigInt64Array,
  F32: Float32Array,
};

test("numbers of every type are read", () => {
  const highest = { U8: 255, I16: 2 ** 15 - 1, I32: 2 ** 31 - 1, F32: Math.fround(3.4e38) };
  for (const [kind, Type] of Object.entries(KINDS)) {
    const found = numbers(`kind_${kind}`);
    assert.ok(found instanceof Type, kind);
    if (kind === "I64") assert.deepEqual(Array.from(found), [0n, 1n, 2n ** 63n - 1n]);
    else assert.deepEqual(Array.from(found), [0, 1, highest[kind]]);
  }
});

test("half precision is read, from the smallest to infinity", () => {
  same(numbers("kind_F16"), numbers("kind_F16_as_F64"));
  same(numbers("kind_F16"), [0, -1.5, 2 ** -24, -(2 ** -14), 65504, Infinity, -Infinity]);
});

test("shapes and metadata are read", () => {
  const { tensors, metadata } = readTensors(bytesOf("atlas.safetensors"));
  assert.deepEqual(tensors.points.shape, [30, 6]);
  assert.equal(tensors.points.data.length, 180);
  assert.equal(JSON.parse(metadata.labels)[29], "labels 29");
  same(tensors.starts.data.subarray(29), [87, 91]);
});

test("a file that is none, or only a part of one, is refused", () => {
  const whole = bytesOf("atlas.safetensors");
  const text = (words) => new TextEncoder().encode(words).buffer;
  const parts = [
    new ArrayBuffer(0),
    whole.slice(0, 7),
    whole.slice(0, 100),
    text("<!doctype html>"),
  ];
  for (const part of parts) assert.throws(() => readTensors(part), /not a safetensors file/);
  assert.throws(() => readTensors(whole.slice(0, -1)), /ends before its last number/);
});

test("an array may begin at any byte", () => {
  const header = JSON.stringify({
    a: { dtype: "U8", shape: [1], data_offsets: [0, 1] },
    b: { dtype: "F32", shape: [2], data_offsets: [1, 9] },
  });
  const bytes = new Uint8Array(8 + header.length + 9);
  bytes[0] = header.length;
  bytes.set(new TextEncoder().encode(header), 8);
  bytes.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 8 + header.length + 1);
  const { tensors, metadata } = readTensors(bytes.buffer);
  assert.deepEqual(Array.from(tensors.b.data), [1.5, -2]);
  assert.deepEqual(metadata, {});
});

test("places and neighbours are those that NumPy finds", () => {
  const atlas = readTensors(bytesOf("atlas.safetensors"));
  for (let i = 0; i < 3; i++) {
    const { x, y, neighbours } = place(numbers("embeddings").subarray(40 * i, 40 * (i + 1)), atlas);
    near([x, y], numbers("places").subarray(2 * i, 2 * i + 2), 1e-3);
    const part = [8 * i, 8 * i + 8];
    same(
      neighbours.map(({ index }) => index),
      numbers("nearest").subarray(...part),
    );
    const similarities = neighbours.map(({ similarity }) => similarity);
    near(similarities, numbers("similarities").subarray(...part), 1e-5);
    assert.deepEqual(
      neighbours.map(({ index, label, note }) => [label, note, index]),
      neighbours.map(({ index }) => [`labels ${index}`, `notes ${index}`, index]),
    );
  }
});
