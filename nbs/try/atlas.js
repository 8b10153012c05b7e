/** The map of sounds: reading its file, and finding where a sound belongs. */
const NEIGHBOURS = 8;
const known = new WeakMap(); // directions of the points of each atlas
const ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I16: Int16Array,
  I32: Int32Array,
  I64: BigInt64Array,
  U8: Uint8Array,
  F16: Uint16Array,
};

/** Numbers in half precision, given as their bits, as Float32Array. */
function fromHalf(bits) {
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 0x3ff;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  });
}

/** The header of a safetensors file and where its data begins. */
function readHeader(buffer) {
  const broken = new Error("not a safetensors file, or only a part of one");
  if (buffer.byteLength < 8) throw broken;
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (length > buffer.byteLength - 8) throw broken;
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, length));
  try {
    return { header: JSON.parse(text), start: 8 + length };
  } catch {
    throw broken;
  }
}

/**
 * Read a safetensors file.
 * @param {ArrayBuffer} buffer all of the file
 * @returns {{tensors: Object<string, {shape: number[], data: object}>, metadata: object}} data is
 *   a typed array, row by row; half precision becomes Float32Array
 */
export function readTensors(buffer) {
  const { header, start } = readHeader(buffer);
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const [first, last] = offsets.map((offset) => start + offset);
    if (!ARRAYS[dtype]) throw new Error(`${name}: numbers of type ${dtype} cannot be read`);
    if (last > buffer.byteLength) throw new Error(`${name}: the file ends before its last number`);
    const data = new ARRAYS[dtype](buffer.slice(first, last)); // a copy, as offsets may be odd
    tensors[name] = { shape, data: dtype === "F16" ? fromHalf(data) : data };
  }
  return { tensors, metadata };
}

/** Scale each row of `size` numbers to length 1, in place. */
function normaliseRows(values, size) {
  for (let first = 0; first < values.length; first += size) {
    const row = values.subarray(first, first + size);
    const length = Math.hypot(...row) || 1;
    row.forEach((value, i) => (row[i] = value / length));
  }
  return values;
}

/** Points (m x size) of an atlas at length 1; computed once for each atlas. */
function directionsOf(atlas) {
  if (!known.has(atlas)) {
    const { data, shape } = atlas.tensors.points;
    known.set(atlas, normaliseRows(Float64Array.from(data), shape[1]));
  }
  return known.get(atlas);
}

/** Direction of an embedding (1280) on the atlas: Float64Array (size), at length 1. */
function directionOf(embedding, { mean, scale, projection }) {
  const size = projection.shape[1];
  const result = new Float64Array(size);
  embedding.forEach((value, i) => {
    const standard = (value - mean.data[i]) / scale.data[i];
    for (let j = 0; j < size; j++) result[j] += standard * projection.data[i * size + j];
  });
  return normaliseRows(result, size);
}

/**
 * Where a sound belongs on the map: among its 8 nearest sounds, by cosine.
 * @param {Float32Array} embedding (1280) of a scene
 * @param {{tensors: object, metadata: object}} atlas from `readTensors`: mean and scale (1280),
 *   projection (1280 x size), points (m x size), xy (m x 2); `labels` and `notes` in JSON
 * @returns {{x: number, y: number, neighbours: {index: number, label: string, note: *,
 *   similarity: number}[]}} x and y in 0..100: the mean of the neighbours' places, weighted by
 *   similarity; neighbours from the nearest on
 */
export function place(embedding, atlas) {
  const { tensors, metadata } = atlas;
  const xy = tensors.xy.data;
  const [labels, notes] = [JSON.parse(metadata.labels), JSON.parse(metadata.notes)];
  const directions = directionsOf(atlas);
  const towards = directionOf(embedding, tensors);
  const similarities = labels.map((_, sound) =>
    towards.reduce((sum, value, i) => sum + value * directions[sound * towards.length + i], 0),
  );
  const nearest = Array.from(similarities.keys())
    .sort((a, b) => similarities[b] - similarities[a])
    .slice(0, NEIGHBOURS);
  let [x, y, total] = [0, 0, 0];
  for (const index of nearest) {
    const weight = Math.max(similarities[index], 1e-6);
    x += weight * xy[2 * index];
    y += weight * xy[2 * index + 1];
    total += weight;
  }
  const neighbours = nearest.map((index) => ({
    index,
    label: labels[index],
    note: notes[index],
    similarity: similarities[index],
  }));
  return { x: x / total, y: y / total, neighbours };
}
