/** The main thread's side of the workers: the model, and the maker of sounds. */
import { fetchKept, manifest } from "./fetching.js";
import { readMetadata } from "./metadata.js";
import { PATCHES } from "./patches.js";

const FILES = ["model.onnx", "ort/ort-wasm-simd-threaded.wasm"];
const SCRIPT = new URL("ort/ort.wasm.min.mjs", import.meta.url).href;

/** A sum of two vectors of 16 bytes: valid where WebAssembly knows SIMD. */
const SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** Whether this browser can run the model. */
export function supported() {
  const wasm = globalThis.WebAssembly;
  return Boolean(globalThis.Worker && wasm?.validate?.(SIMD));
}

/** Call the tasks of a worker: `call(task, input, transfer)` is a promise of the result. */
function startWorker(name) {
  const worker = new Worker(new URL(name, import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  let broken = null;
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    broken = new Error(event.message || `${name} could not be loaded`);
    for (const { reject } of waiting.values()) reject(broken);
    waiting.clear();
  };
  return (task, input, transfer = []) =>
    new Promise((resolve, reject) => {
      if (broken) throw broken;
      waiting.set(++last, { resolve, reject });
      worker.postMessage({ id: last, task, input }, transfer);
    });
}

/**
 * Let one call run at a time; of those that come meanwhile only the newest is made.
 * @param {(...args) => Promise} call what to do
 * @returns {(...args) => Promise} the same; a promise that was overtaken resolves to undefined
 */
export function newestWins(call) {
  let running = false;
  let next = null;
  const start = async ({ args, resolve, reject }) => {
    running = true;
    await call(...args).then(resolve, reject);
    running = false;
    const following = next;
    next = null;
    if (following) start(following);
  };
  return (...args) =>
    new Promise((resolve, reject) => {
      const request = { args, resolve, reject };
      if (!running) return start(request);
      next?.resolve(undefined);
      next = request;
    });
}

/** How many bytes a first visit downloads for the model, or 0 if the site does not say. */
export async function downloadSize() {
  const files = await manifest();
  return FILES.reduce((sum, name) => sum + (files[name]?.bytes ?? 0), 0);
}

/**
 * Download the model and start it in a worker.
 * @param {(bytes: number, total: number) => void} onProgress is told how much has arrived
 * @returns {Promise<{windows: number[], blocks: number, run: Function, embed: Function}>} the window
 *   of each head and the number of blocks of the decoder; `run({spectrogram, visible, block})` is a
 *   promise of what the model makes of it, or of undefined if a newer request overtook it; `embed`
 *   is the same for whole spectrograms. Throws a `DownloadError`, or another error if the engine
 *   does not start.
 */
export async function startEngine(onProgress) {
  if (!supported()) throw new Error("this browser lacks WebAssembly with SIMD");
  const total = await downloadSize();
  const arrived = FILES.map(() => 0);
  const downloads = FILES.map((name, i) =>
    fetchKept(name, (bytes) => {
      arrived[i] = bytes;
      onProgress(arrived[0] + arrived[1], total);
    }),
  );
  const [model, wasm] = await Promise.all(downloads);
  const { windows, blocks } = readMetadata(model);
  const call = startWorker("worker.js");
  await call("load", { script: SCRIPT, model, wasm }, [model, wasm]);
  const all = BigInt64Array.from({ length: PATCHES }, (_, patch) => BigInt(patch));
  return {
    windows,
    blocks,
    run: newestWins((input) => call("run", input)),
    embed: newestWins((spectrogram) => call("run", { spectrogram, visible: all, block: 0 })),
  };
}

let sounder;
/**
 * Make a sound in a worker of its own.
 * @param {"visible"|"rebuilt"} task what to make
 * @param {object} input what the task of that name in `sounder.js` takes
 * @returns {Promise<Float32Array>} (samples) at 16 kHz
 */
export function makeSound(task, input) {
  sounder ??= startWorker("sounder.js");
  return sounder(task, input);
}
