/** A worker that makes sounds of spectrograms, so that the page does not wait for it. */
import { silenceHidden, rebuildSound } from "./griffin.js";

const TASKS = { visible: silenceHidden, rebuilt: rebuildSound };

self.onmessage = ({ data: { id, task, input } }) => {
  try {
    const samples = TASKS[task](input);
    self.postMessage({ id, result: samples }, [samples.buffer]);
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
