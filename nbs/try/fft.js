/** Discrete Fourier transforms of any size, fastest for products of 4 and 5 such as 400. */

const COS1 = Math.cos((2 * Math.PI) / 5);
const COS2 = Math.cos((4 * Math.PI) / 5);
const SIN1 = Math.sin((2 * Math.PI) / 5);
const SIN2 = Math.sin((4 * Math.PI) / 5);

/** Split a size into 4s and the primes that are left. */
function factors(size) {
  const found = [];
  let rest = size;
  const take = (factor) => {
    for (; rest % factor === 0; rest /= factor) found.push(factor);
  };
  take(4);
  for (let factor = 2; rest > 1; factor++) take(factor);
  return found;
}

/** The numbers exp(-2 pi i k / size) for k from 0 to size - 1. */
function roots(size) {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    re[k] = Math.cos((2 * Math.PI * k) / size);
    im[k] = -Math.sin((2 * Math.PI * k) / size);
  }
  return { re, im };
}

/** One pass of Stockham's algorithm with 4 branches: from x to y. */
function pass4(xr, xi, yr, yi, table, m, stride) {
  const { re: wr, im: wi } = table;
  const far = stride * m;
  for (let j = 0; j < m; j++) {
    const turn = j * stride;
    for (let q = 0; q < stride; q++) {
      const a = q + turn;
      const b = a + far;
      const c = b + far;
      const d = c + far;
      const evenR = xr[a] + xr[c];
      const evenI = xi[a] + xi[c];
      const crossR = xr[a] - xr[c];
      const crossI = xi[a] - xi[c];
      const oddR = xr[b] + xr[d];
      const oddI = xi[b] + xi[d];
      const sideR = xi[b] - xi[d];
      const sideI = xr[d] - xr[b];
      let to = q + 4 * turn;
      yr[to] = evenR + oddR;
      yi[to] = evenI + oddI;
      to += stride;
      store(yr, yi, to, crossR + sideR, crossI + sideI, wr[turn], wi[turn]);
      to += stride;
      store(yr, yi, to, evenR - oddR, evenI - oddI, wr[2 * turn], wi[2 * turn]);
      to += stride;
      store(yr, yi, to, crossR - sideR, crossI - sideI, wr[3 * turn], wi[3 * turn]);
    }
  }
}

/** One pass with 5 branches. */
function pass5(xr, xi, yr, yi, table, m, stride) {
  const { re: wr, im: wi } = table;
  const far = stride * m;
  for (let j = 0; j < m; j++) {
    const turn = j * stride;
    for (let q = 0; q < stride; q++) {
      const a = q + turn;
      const b = a + far;
      const c = b + far;
      const d = c + far;
      const e = d + far;
      const sum1R = xr[b] + xr[e];
      const sum1I = xi[b] + xi[e];
      const sum2R = xr[c] + xr[d];
      const sum2I = xi[c] + xi[d];
      const gap1R = xr[b] - xr[e];
      const gap1I = xi[b] - xi[e];
      const gap2R = xr[c] - xr[d];
      const gap2I = xi[c] - xi[d];
      const mid1R = xr[a] + COS1 * sum1R + COS2 * sum2R;
      const mid1I = xi[a] + COS1 * sum1I + COS2 * sum2I;
      const mid2R = xr[a] + COS2 * sum1R + COS1 * sum2R;
      const mid2I = xi[a] + COS2 * sum1I + COS1 * sum2I;
      const side1R = SIN1 * gap1I + SIN2 * gap2I;
      const side1I = -SIN1 * gap1R - SIN2 * gap2R;
      const side2R = SIN2 * gap1I - SIN1 * gap2I;
      const side2I = -SIN2 * gap1R + SIN1 * gap2R;
      let to = q + 5 * turn;
      yr[to] = xr[a] + sum1R + sum2R;
      yi[to] = xi[a] + sum1I + sum2I;
      to += stride;
      store(yr, yi, to, mid1R + side1R, mid1I + side1I, wr[turn], wi[turn]);
      to += stride;
      store(yr, yi, to, mid2R + side2R, mid2I + side2I, wr[2 * turn], wi[2 * turn]);
      to += stride;
      store(yr, yi, to, mid2R - side2R, mid2I - side2I, wr[3 * turn], wi[3 * turn]);
      to += stride;
      store(yr, yi, to, mid1R - side1R, mid1I - side1I, wr[4 * turn], wi[4 * turn]);
    }
  }
}

/** Multiply by the root (wr, wi) and keep. */
function store(yr, yi, to, re, im, wr, wi) {
  yr[to] = re * wr - im * wi;
  yi[to] = re * wi + im * wr;
}

/** One pass with any number of branches: the sum written out. */
function passAny(xr, xi, yr, yi, table, m, stride, branches) {
  const { re: wr, im: wi } = table;
  const size = wr.length;
  const far = stride * m;
  for (let j = 0; j < m; j++) {
    for (let k = 0; k < branches; k++) {
      const turn = (j * k * stride) % size;
      for (let q = 0; q < stride; q++) {
        let sumR = 0;
        let sumI = 0;
        for (let b = 0; b < branches; b++) {
          const at = q + stride * j + b * far;
          const w = (((b * k) % branches) * size) / branches;
          sumR += xr[at] * wr[w] - xi[at] * wi[w];
          sumI += xr[at] * wi[w] + xi[at] * wr[w];
        }
        store(yr, yi, q + stride * (branches * j + k), sumR, sumI, wr[turn], wi[turn]);
      }
    }
  }
}

/**
 * Plan transforms of `size` complex numbers, which stand in two arrays: real and imaginary parts.
 * @param {number} size how many numbers
 * @returns {{size: number, forward: Function, inverse: Function}} `forward(re, im)` and
 *   `inverse(re, im)` work in place on Float64Array (size); inverse divides by `size`
 */
export function makeFft(size) {
  const table = roots(size);
  const plan = factors(size);
  const workR = new Float64Array(size);
  const workI = new Float64Array(size);

  function forward(re, im) {
    let [xr, xi, yr, yi] = [re, im, workR, workI];
    let stride = 1;
    for (const branches of plan) {
      const m = size / stride / branches;
      if (branches === 4) pass4(xr, xi, yr, yi, table, m, stride);
      else if (branches === 5) pass5(xr, xi, yr, yi, table, m, stride);
      else passAny(xr, xi, yr, yi, table, m, stride, branches);
      stride *= branches;
      [xr, xi, yr, yi] = [yr, yi, xr, xi];
    }
    if (xr === workR) {
      re.set(workR);
      im.set(workI);
    }
  }

  function inverse(re, im) {
    forward(im, re);
    for (let k = 0; k < size; k++) {
      re[k] /= size;
      im[k] /= size;
    }
  }

  return { size, forward, inverse };
}
