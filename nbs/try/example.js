/** The recorded example: what the model made of one sound, shown where the model does not run. */
import { readTensors } from "./atlas.js";
import { fetchKept } from "./fetching.js";
import { PATCHES } from "./patches.js";

const VALUES = 200 * 80;

/**
 * Read the recorded example.
 * @returns {Promise<{title: string, sound: string, limits: number[], count: number,
 *   frame: (i: number) => object}>} its title, the file in `sounds/`, the values of the lowest and
 *   the highest colour, and `count` frames: `{seed, share, mask, spectrogram, rebuilt}` with a mask
 *   (250) and spectrograms (200 x 80), standardised. Throws an error if it is not to be had.
 */
export async function loadExample() {
  const { tensors, metadata } = readTensors(await fetchKept("example.safetensors"));
  const { spectrogram, rebuilt, masks } = tensors;
  const [low, high, seeds, shares] = ["low", "high", "seeds", "shares"].map((name) =>
    JSON.parse(metadata[name]),
  );
  const values = (bytes) => Float32Array.from(bytes, (byte) => low + ((high - low) * byte) / 255);
  const original = values(spectrogram.data);
  const frame = (i) => ({
    seed: seeds[i],
    share: shares[i],
    mask: Uint8Array.from(masks.data.subarray(i * PATCHES, (i + 1) * PATCHES)),
    spectrogram: original,
    rebuilt: values(rebuilt.data.subarray(i * VALUES, (i + 1) * VALUES)),
  });
  const { title, sound } = metadata;
  return { title, sound, limits: [low, high], count: seeds.length, frame };
}
