/** Reads what a model file says of itself. */

/** Read the fields of a protobuf message: calls `onField(number, bytes)` for those with bytes. */
function walk(bytes, onField) {
  let at = 0;
  const varint = () => {
    let [value, factor] = [0, 1];
    for (; bytes[at] & 128; factor *= 128) value += (bytes[at++] & 127) * factor;
    return value + bytes[at++] * factor;
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else {
      const length = varint();
      onField(Math.floor(tag / 8), bytes.subarray(at, at + length));
      at += length;
    }
  }
}

/**
 * The metadata `mwmae` of an ONNX file.
 * @param {ArrayBuffer} model the file
 * @returns {{windows: number[], blocks: number}} the window of each head of the decoder, its
 *   blocks, and the rest of what the exporter wrote. Throws an error if it is not there.
 */
export function readMetadata(model) {
  let found;
  const text = new TextDecoder();
  walk(new Uint8Array(model), (field, entry) => {
    if (field !== 14) return; // ModelProto.metadata_props
    const pair = [];
    walk(entry, (part, bytes) => (pair[part] = text.decode(bytes)));
    if (pair[1] === "mwmae") found = JSON.parse(pair[2]);
  });
  if (!found) throw new Error("the model does not say what shape it has");
  return found;
}
