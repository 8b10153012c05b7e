/** A worker that runs the model: it gets the bytes once, then spectrograms and masks. */

let ort, session;

/** Start the engine: `script` is the address of onnxruntime-web, the rest bytes. */
async function load({ script, wasm, model }) {
  ort = await import(script);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("./", script).href;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

/**
 * One pass of the model.
 * @param {{spectrogram: Float32Array, visible: BigInt64Array, block: number}} input (200 x 80)
 *   standardised, numbers of the visible patches (k), and a decoder block
 * @returns {{prediction: Float32Array, features: Float32Array, attention: Float32Array}}
 *   (250 x 64), (k x 256) and (heads x 250 x 250)
 */
async function run({ spectrogram, visible, block }) {
  const outputs = await session.run({
    spectrogram: new ort.Tensor("float32", spectrogram, [200, 80]),
    visible: new ort.Tensor("int64", visible, [visible.length]),
    block: new ort.Tensor("int64", [BigInt(block)], []),
  });
  const result = {};
  for (const name of ["prediction", "features", "attention"]) result[name] = outputs[name].data;
  return result;
}

const TASKS = { load, run };

/** Answer one message; an error is an answer too. */
async function answer({ id, task, input }) {
  try {
    const result = await TASKS[task](input);
    const buffers = Object.values(result ?? {}).map((array) => array.buffer);
    self.postMessage({ id, result }, [...new Set(buffers)]);
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
}

let answered = Promise.resolve();
self.onmessage = ({ data }) => {
  answered = answered.then(() => answer(data)); // one after another
};
