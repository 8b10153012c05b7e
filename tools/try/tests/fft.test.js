import assert from "node:assert/strict";
import { test } from "node:test";
import { makeFft } from "../../../nbs/try/fft.js";
import { mulberry32 } from "../../../nbs/try/masks.js";
import { near } from "./expected.js";

/** The transform by its definition. */
function slowly(re, im) {
  const size = re.length;
  const [sumR, sumI] = [new Float64Array(size), new Float64Array(size)];
  for (let k = 0; k < size; k++) {
    for (let t = 0; t < size; t++) {
      const angle = (-2 * Math.PI * ((k * t) % size)) / size;
      sumR[k] += re[t] * Math.cos(angle) - im[t] * Math.sin(angle);
      sumI[k] += re[t] * Math.sin(angle) + im[t] * Math.cos(angle);
    }
  }
  return [sumR, sumI];
}

for (const size of [1, 2, 3, 4, 5, 20, 35, 144, 400]) {
  test(`transform of ${size} numbers and back`, () => {
    const random = mulberry32(size);
    const re = Float64Array.from({ length: size }, random);
    const im = Float64Array.from({ length: size }, random);
    const [x, y] = [Float64Array.from(re), Float64Array.from(im)];
    const fft = makeFft(size);
    fft.forward(x, y);
    const [expectedR, expectedI] = slowly(re, im);
    near(x, expectedR, 1e-11);
    near(y, expectedI, 1e-11);
    fft.inverse(x, y);
    near(x, re, 1e-14);
    near(y, im, 1e-14);
  });
}

test("a transform says its size", () => {
  assert.equal(makeFft(400).size, 400);
});
