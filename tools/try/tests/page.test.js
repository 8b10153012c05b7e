import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { readTensors } from "../../../nbs/try/atlas.js";
import { outlinePath, range, wavePath } from "../../../nbs/try/draw.js";
import { newestWins } from "../../../nbs/try/engine.js";
import { weightsOf, windowOutlines, windowWords } from "../../../nbs/try/heads.js";
import { noteName } from "../../../nbs/try/map.js";
import { PATCHES } from "../../../nbs/try/patches.js";
import { UNIT, firstHeard, isSilent } from "../../../nbs/try/state.js";
import { tourSteps } from "../../../nbs/try/steps.js";

const tone = (length) => Float32Array.from({ length }, (_, i) => 0.3 * Math.sin(i / 7));

test("of the calls that come while one runs, only the newest is made", async () => {
  const begun = [];
  const ends = [];
  const call = newestWins((name) => {
    begun.push(name);
    return new Promise((resolve) => ends.push(() => resolve(name)));
  });
  const promises = ["a", "b", "c", "d"].map((name) => call(name));
  ends[0]();
  assert.equal(await promises[0], "a");
  await new Promise((resolve) => setTimeout(resolve));
  ends[1]();
  assert.deepEqual(await Promise.all(promises), ["a", undefined, undefined, "d"]);
  assert.deepEqual(begun, ["a", "d"]);
});

test("a call that fails does not block the next", async () => {
  const call = newestWins(async (fails) => {
    if (fails) throw new Error("failed");
    return "done";
  });
  await assert.rejects(call(true), /failed/);
  assert.equal(await call(false), "done");
});

test("an outline is closed, and goes around all of its patches", () => {
  const lines = (path) => path.match(/M/g).length;
  assert.equal(lines(outlinePath(0, 1)), 4);
  assert.equal(lines(outlinePath(0, PATCHES)), 2 * (50 + 5));
  assert.equal(lines(outlinePath(4, 6)), 8); // highest of one time, lowest of the next
  assert.equal(outlinePath(122, 123), "M24,2v1M25,2v1M24,2h1M24,3h1");
});

test("a window says what it covers", () => {
  assert.equal(windowWords(0, 2), "2 patches, 40 ms");
  assert.equal(windowWords(1, 2), windowWords(0, 2));
  assert.equal(windowWords(4, 2), "2 patches, 80 ms");
  assert.equal(windowWords(122, 25), "25 patches, 0.2 s");
  assert.equal(windowWords(249, 250), "250 patches, 2 s");
});

test("outlines are drawn for all heads, or for one", () => {
  const count = (alone) => windowOutlines([2, 5, 250], 7, alone).match(/stroke=/g).length;
  assert.equal(count(null), 3);
  assert.equal(count(1), 1);
});

test("weights are those of the head and the patch", () => {
  const attention = new Float32Array(2 * PATCHES * PATCHES);
  attention[(PATCHES + 3) * PATCHES + 8] = 1;
  assert.equal(weightsOf(attention, 1, 3).indexOf(1), 8);
  assert.equal(weightsOf(attention, 0, 3).indexOf(1), -1);
});

test("silence at the beginning is passed over, within two seconds it is kept", () => {
  const late = (at) => Float32Array.from([...new Float32Array(at), ...tone(100)]);
  assert.equal(firstHeard(late(100)), 0);
  assert.equal(firstHeard(late(2 * UNIT)), 2 * UNIT + 1); // the tone begins with 0
  assert.ok(isSilent(new Float32Array(50)) && !isSilent(tone(50)));
});

test("a waveform has at most 600 lines and reaches the top of its box", () => {
  const path = wavePath(tone(10_000));
  assert.equal(path.match(/M/g).length, 600);
  const [lowest] = range(path.match(/,-?[\d.]+/g).map((part) => Number(part.slice(1))));
  assert.ok(Math.abs(lowest + 1.01) < 1e-6);
});

test("the tour has six steps, each with words, a part and chapters", () => {
  const calls = [];
  const page = { setShare: (share) => calls.push(share), look: () => {}, alone: () => {} };
  const steps = tourSteps(page);
  assert.equal(steps.length, 6);
  for (const { title, text, part, links, enter } of steps) {
    assert.ok(title && text.length < 260 && part.startsWith("#try-") && links.length);
    enter();
  }
  assert.deepEqual(calls, [0, 0.8, 0.9, 0.8]);
});

test("notes have the names of their MIDI numbers", () => {
  assert.deepEqual([36, 43, 60, 83].map(noteName), ["C2", "G2", "C4", "B5"]);
  assert.equal(noteName(61), "C♯4");
});

test("notes of the map lie among notes of their pitch and their instrument", async () => {
  const file = await readFile(new URL("../../../nbs/try/atlas.safetensors", import.meta.url));
  const { tensors, metadata } = readTensors(new Uint8Array(file).buffer);
  const [labels, notes] = [JSON.parse(metadata.labels), JSON.parse(metadata.notes)];
  const { data, shape } = tensors.points;
  const rows = labels.map((_, i) => data.subarray(i * shape[1], (i + 1) * shape[1]));
  const cosine = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0) / Math.hypot(...b);
  let [pitch, kind] = [0, 0];
  rows.forEach((row, i) => {
    const similar = rows.map((other) => cosine(row, other));
    const others = [...rows.keys()].filter((j) => j !== i);
    for (const j of others.sort((a, b) => similar[b] - similar[a]).slice(0, 8)) {
      pitch += (Math.abs(notes[i] - notes[j]) <= 3) / (8 * rows.length);
      kind += (labels[i] === labels[j]) / (8 * rows.length);
    }
  });
  assert.ok(Math.abs(pitch - 0.7) < 0.05, `${pitch} are near in pitch`); // the page says 7 in 10
  assert.ok(Math.abs(kind - 0.4) < 0.05, `${kind} are of the same instrument`); // and 4 in 10
});
