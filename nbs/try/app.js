/** The page 'Try it': everything that changes its state, and its start. */
import { place, readTensors } from "./atlas.js";
import { connect, watchMap } from "./controls.js";
import { range } from "./draw.js";
import { downloadSize, startEngine } from "./engine.js";
import { loadExample } from "./example.js";
import { fetchKept } from "./fetching.js";
import { makeHearing } from "./hearing.js";
import { makeMap } from "./map.js";
import { brush, drawMask, visibleOf } from "./masks.js";
import { SAMPLE_RATE } from "./mel.js";
import { PATCHES, patchErrors, patchify } from "./patches.js";
import { readSite } from "./sound.js";
import {
  UNIT,
  countHidden,
  cutClip,
  firstHeard,
  hiddenLoss,
  isSilent,
  judge,
  sceneEmbedding,
  state,
} from "./state.js";
import { buildPictures, render, renderPointer, say, showProgress } from "./view.js";

const HINT =
  "Hide more or less, paint on Visible, or click a patch of Original or Rebuilt to see the heads.";
const WAITING = "This is a recorded example. Everything else works when the model is here.";
const root = document.querySelector("#tryit");
let engine = null; // what runs the model, once it is there
let example = null; // the recorded example, if there is one
let exampleAt = 0; // the frame of it that is shown
let atlas = null; // the map of sounds, once the reader has come near it
let showPlace = null; // marks a place on it
let embedding = null; // (1280) of the two seconds
let embedTimer = 0;

const draw = () => render(state, (head) => alone(state.head === head ? null : head));

const { hear, silence } = makeHearing(state, draw);

/** Whether the recorded example stands in for the model. */
const recorded = () =>
  !state.live && example !== null && state.source === example.sound && state.begin === 0;

/** Ask the model for the present mask, and draw its answer; a later question overtakes this one. */
async function update() {
  draw();
  if (!state.live || !state.spectrogram) return;
  const began = performance.now();
  const { spectrogram, mask, block } = state;
  let result;
  try {
    result = await engine.run({ spectrogram, visible: visibleOf(mask), block });
  } catch (error) {
    say(`The model stopped: ${error.message}. Load the page again.`, true);
    return;
  }
  if (!result || state.spectrogram !== spectrogram) return;
  const { prediction, attention } = result;
  Object.assign(state, { prediction, attention }, judge(spectrogram, mask, prediction));
  draw();
  state.milliseconds = performance.now() - began;
  renderPointer(state);
}

/** Show two seconds of the sound that begin at `seconds`. */
function setBegin(seconds) {
  silence();
  const last = Math.max(0, state.samples.length - UNIT);
  const begin = Math.min(Math.max(0, Math.round(seconds * SAMPLE_RATE)), last);
  Object.assign(state, cutClip(state.samples, begin));
  say(isSilent(state.clip) ? "These two seconds are silent." : state.words);
  Object.assign(state, { prediction: null, attention: null, rebuilt: null, errors: null });
  Object.assign(state, { loss: null, milliseconds: null, limits: range(state.spectrogram) });
  return recorded() ? showExample(exampleAt) : listenAnew();
}

/** Run the model on new two seconds, and place them on the map when they stay for a moment. */
function listenAnew() {
  clearTimeout(embedTimer);
  embedTimer = setTimeout(embed, 300);
  return update();
}

/** Show another sound (samples at 16 kHz); `source` is its file name if it is one of the site's. */
function setSound(samples, words, source = null) {
  Object.assign(state, { samples, source });
  const seconds = samples.length / SAMPLE_RATE;
  const length = seconds < 120 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} minutes`;
  state.words = `${words}, ${length}${seconds < 2 ? ", continued by its own reflection" : ""}.`;
  return setBegin(firstHeard(samples) / SAMPLE_RATE);
}

/** Hide this share of the patches, 0 to 0.95; of the example, the nearest that was recorded. */
function setShare(share) {
  if (recorded()) {
    const shares = Array.from({ length: example.count }, (_, i) => example.frame(i).share);
    const distances = shares.map((value) => Math.abs(value - share));
    return showExample(distances.indexOf(Math.min(...distances)));
  }
  state.share = Math.min(Math.max(share, 0), 0.95);
  state.mask = drawMask(state.seed, state.share, PATCHES);
  return update();
}

/** Draw the mask of another seed; of the example, show the next that was recorded. */
function setSeed(seed) {
  if (recorded()) return showExample((exampleAt + 1) % example.count);
  state.seed = seed;
  return setShare(state.share);
}

/** Hide or show patches by hand. */
function paintMask(patches, hide) {
  if (recorded()) return undefined;
  const before = state.mask;
  for (const patch of patches) state.mask = brush(state.mask, patch, hide);
  if (state.mask === before) return undefined;
  state.share = countHidden(state.mask) / PATCHES;
  return update();
}

/** Point at a patch; null points at none. */
function point(patch) {
  state.pointed = patch;
  renderPointer(state);
}

/** Show the heads of a patch; null, or the same again, shows none. */
function look(patch) {
  state.patch = patch;
  draw();
}

/** Show one head alone; null shows all. */
function alone(head) {
  state.head = head;
  draw();
  if (head !== null) root.querySelector("#try-alone").scrollIntoView({ block: "nearest" });
}

/** Show the attention of another decoder block, from 0. */
function setBlock(block) {
  state.block = block;
  return update();
}

/** Show one frame of the recorded example. */
function showExample(index) {
  exampleAt = index;
  const { spectrogram, rebuilt, mask, ...drawn } = example.frame(index);
  const errors = patchErrors(patchify(spectrogram), patchify(rebuilt));
  const { limits } = example;
  Object.assign(state, drawn, { spectrogram, rebuilt, mask, limits, errors });
  state.loss = hiddenLoss(errors, mask);
  draw();
}

/** Show the recorded example and get its sound; without it, show what the browser computes. */
async function startWithExample() {
  example = await loadExample().catch(() => null);
  state.hasExample = example !== null;
  if (example) showExample(0);
  const file = example?.sound ?? "guitar.ogg";
  const samples = await readSite(file);
  if (state.samples) return; // the reader was faster
  Object.assign(state, { samples, source: file });
  const { spectrogram, ...clip } = cutClip(samples, 0);
  Object.assign(state, clip);
  state.words = example ? WAITING : HINT;
  say(state.words);
  if (!example) Object.assign(state, { spectrogram, limits: range(spectrogram) });
  draw();
}

/** Compute the sound's embedding and place it on the map. */
async function embed() {
  if (!state.live || !state.spectrogram) return;
  const result = await engine.embed(state.spectrogram).catch(() => null);
  if (!result) return;
  embedding = sceneEmbedding(result.features);
  showPlace?.(place(embedding, atlas));
}

/** Download and draw the map, once. */
async function loadMap() {
  if (atlas) return;
  atlas = readTensors(await fetchKept("atlas.safetensors"));
  showPlace = makeMap(root.querySelector("#try-map"), atlas);
  if (embedding) showPlace(place(embedding, atlas));
}

/** Download and start the model; if that fails, say so and keep to the example. */
async function loadModel() {
  try {
    engine = await startEngine(showProgress);
  } catch (error) {
    state.failed = true;
    const instead = example ? " You see and hear a recorded example." : "";
    say(`The model does not run here: ${error.message}.${instead}`, true);
    if (example && !recorded()) {
      Object.assign(state, { samples: null, source: null });
      await startWithExample();
    }
    return draw();
  } finally {
    showProgress(null);
  }
  const { windows, blocks } = engine;
  Object.assign(state, { live: true, windows, blocks, block: blocks - 1 });
  if (state.words === WAITING) {
    state.words = HINT;
    say(HINT);
  }
  if (state.samples) {
    const { spectrogram } = cutClip(state.samples, state.begin);
    Object.assign(state, { spectrogram, limits: range(spectrogram) });
  }
  await listenAnew();
  state.milliseconds = null; // the first pass also warms up
  return renderPointer(state);
}

/** Wait until the reader wants the model, where the connection asks to save data. */
async function askFirst() {
  const button = root.querySelector("#try-loading button");
  showProgress(0, await downloadSize());
  button.hidden = false;
  await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
  button.hidden = true;
}

/** Start the page. */
async function start() {
  buildPictures();
  draw();
  const masks = { setShare, setSeed, paintMask };
  const sounds = { setSound, setBegin, hear, silence };
  connect(root, { ...masks, ...sounds, point, look, alone, setBlock });
  await startWithExample().catch((error) => say(error.message, true));
  await new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));
  if (navigator.connection?.saveData) await askFirst();
  await loadModel();
  watchMap(root, loadMap); // later, as the first view needs nothing of it
}

window.tryit = { ready: start(), state, setSeed, setShare, prediction: () => state.prediction };
