/** What the page shows, and what follows from it by arithmetic alone. */
import { drawMask } from "./masks.js";
import { SAMPLE_RATE, UNIT_FRAMES, logMel, standardise, unit } from "./mel.js";
import { PATCHES, TIMES, composite, patchErrors, patchify, unpatchify } from "./patches.js";

const SILENT = 1e-4; // samples below make no sound that is heard
export const UNIT = (UNIT_FRAMES / 100) * SAMPLE_RATE; // samples of two seconds

export const state = {
  words: "", // what the page says of the sound
  source: null, // file name of the site's sound that is shown, if it is one
  samples: null, // the whole sound, mono at 16 kHz
  begin: 0, // where the two seconds begin, samples
  clip: null, // these two seconds, or less
  scale: null, // {mean, deviation} of their spectrogram before it was standardised
  spectrogram: null, // (200 x 80) standardised
  limits: [-2, 3], // values of the lowest and the highest colour
  seed: 7,
  share: 0.8, // hidden share
  mask: drawMask(7, 0.8, PATCHES), // (250) 1 where hidden
  prediction: null, // (250 x 64) what the model made of the visible patches
  attention: null, // (heads x 250 x 250) of the decoder block that is shown
  rebuilt: null, // (200 x 80) hidden patches from the prediction, others from the original
  errors: null, // (250) mean squared error of each patch
  loss: null, // mean of the errors of hidden patches
  milliseconds: null, // from the last change to its picture
  block: 0, // the decoder block that is shown, from 0
  blocks: 0, // how many there are
  windows: [], // patches in the window of each head
  patch: null, // the patch whose heads are shown
  head: null, // the only head that is shown; null: all
  pointed: null, // the patch under the pointer or the cursor
  playing: null, // the picture that is heard or waited for: original, visible or rebuilt
  sounding: false, // whether it is heard already
  hasExample: false, // whether there is a recorded example to stand in for the model
  live: false, // whether the model runs
  failed: false, // whether it cannot
};

/** Whether there is nothing to show but the recorded example. */
export const isStuck = ({ failed, hasExample }) => failed && hasExample;

/**
 * Cut two seconds out of a sound.
 * @param {Float32Array} samples the sound at 16 kHz
 * @param {number} begin where they begin, samples
 * @returns {{begin: number, clip: Float32Array, scale: object, spectrogram: Float32Array}} parts of
 *   the state; a sound that is too short is continued by its reflection
 */
export function cutClip(samples, begin) {
  const clip = samples.subarray(begin, begin + UNIT);
  const heard = logMel(clip);
  const frames = Math.min(heard.frames, UNIT_FRAMES);
  const own = heard.values.subarray(0, frames * heard.mels);
  const { values, mean, deviation } = standardise(own);
  const spectrogram = unit({ values, frames, mels: heard.mels }, 0);
  return { begin, clip, scale: { mean, deviation }, spectrogram };
}

/** Where a sound begins to be heard, samples: its first two seconds, if anything is in them. */
export function firstHeard(samples) {
  const first = samples.findIndex((value) => Math.abs(value) > SILENT);
  return first < UNIT ? 0 : first;
}

/** Whether nothing is heard in a clip. */
export function isSilent(clip) {
  return clip.every((value) => Math.abs(value) <= SILENT);
}

/** Mean error of the hidden patches, or null if none is hidden. */
export function hiddenLoss(errors, mask) {
  const hidden = countHidden(mask);
  const sum = errors.reduce((total, error, patch) => total + error * mask[patch], 0);
  return hidden ? sum / hidden : null;
}

/** How many patches of a mask are hidden. */
export function countHidden(mask) {
  return mask.reduce((count, hidden) => count + hidden, 0);
}

/**
 * What follows from a prediction.
 * @param {Float32Array} spectrogram (200 x 80)
 * @param {Uint8Array} mask (250)
 * @param {Float32Array} prediction (250 x 64)
 * @returns {{rebuilt: Float32Array, errors: Float32Array, loss: number|null}} parts of the state
 */
export function judge(spectrogram, mask, prediction) {
  const original = patchify(spectrogram);
  const errors = patchErrors(original, prediction);
  const rebuilt = unpatchify(composite(original, prediction, mask));
  return { rebuilt, errors, loss: hiddenLoss(errors, mask) };
}

/** The scene embedding of features (250 x 256) of a whole spectrogram: Float32Array (1280). */
export function sceneEmbedding(features) {
  const embedding = new Float32Array(features.length / TIMES);
  features.forEach((value, i) => (embedding[i % embedding.length] += value / TIMES));
  return embedding;
}
