/** Draws the state of the page: pictures, readout, panel of heads. */
import { gridPath, outlinePath, paint, wavePath } from "./draw.js";
import { drawAlone, drawHeads, placeWords, windowOutlines } from "./heads.js";
import { MELS, SAMPLE_RATE, bandOfHertz } from "./mel.js";
import { UNIT, countHidden, isStuck } from "./state.js";

const TITLES = { original: "the original", visible: "what is visible", rebuilt: "what is rebuilt" };
const find = (selector) => document.querySelector(`#tryit ${selector}`);

/** Labels along the edges of a picture. */
function axes() {
  const hertz = [100, 500, 1000, 2000, 4000, 7500].map((value) => {
    const share = (100 * (bandOfHertz(value) + 0.5)) / MELS;
    const words = value < 1000 ? value : `${value / 1000}k`;
    return `<span style="bottom:${share.toFixed(1)}%">${words}</span>`;
  });
  const seconds = [0, 0.5, 1, 1.5, 2].map((s) => `<span style="left:${50 * s}%">${s}</span>`);
  return { hertz: hertz.join(""), seconds: seconds.join("") };
}

/** Put canvas, overlay, axes and a play button into the three figures. */
export function buildPictures() {
  const { hertz, seconds } = axes();
  for (const figure of document.querySelectorAll("#tryit figure[data-picture]")) {
    const name = figure.dataset.picture;
    figure
      .querySelector("figcaption")
      .insertAdjacentHTML(
        "beforeend",
        `<button type="button" class="try-play" data-play="${name}" disabled>Play</button>`,
      );
    figure.insertAdjacentHTML(
      "beforeend",
      `<div class="try-plot"><div class="try-hertz" aria-hidden="true">${hertz}</div>
      <div class="try-frame" tabindex="0" role="application" aria-describedby="try-readout">
      <canvas></canvas><svg viewBox="0 0 50 5" preserveAspectRatio="none" aria-hidden="true"><path class="grid" d="${gridPath()}"/>
      <g class="windows"></g><path class="pointed casing"/><path class="pointed"/></svg>
      <i class="try-line" hidden></i></div>
      <div class="try-seconds" aria-hidden="true">${seconds}</div></div>`,
    );
    const frame = figure.querySelector(".try-frame");
    const keys = "Arrow keys move over 50 by 5 patches, space hides or shows one, enter its heads.";
    frame.setAttribute("aria-label", `Spectrogram of ${TITLES[name]}. ${keys}`);
  }
  find("#try-alone .try-hertz").innerHTML = hertz;
  find("#try-alone .try-seconds").innerHTML = seconds;
}

/** Say in a sentence what the page does, or what is wrong. */
export function say(words, wrong = false) {
  const message = find("#try-message");
  message.textContent = words;
  message.classList.toggle("wrong", wrong);
}

/** Show how much of the model has arrived; `arrived` of `total` bytes, null when all is done. */
export function showProgress(arrived, total) {
  const bar = find("#try-loading");
  bar.hidden = arrived === null;
  if (arrived === null) return;
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const progress = bar.querySelector("progress");
  if (total) progress.value = arrived / total;
  else progress.removeAttribute("value");
  const words = total
    ? `${megabytes(arrived)} of ${megabytes(total)} MB`
    : megabytes(arrived) + " MB";
  bar.querySelector("span").textContent = arrived >= total && total ? "starting" : words;
}

/** Draw the whole sound and mark the two seconds in it. */
export function drawClip(state) {
  const clip = find("#try-clip");
  const { samples } = state;
  clip.hidden = !samples;
  if (!samples) return;
  const path = clip.querySelector("path");
  if (path.samples !== samples) {
    path.samples = samples;
    path.setAttribute("d", wavePath(samples));
  }
  const slider = find("#try-begin");
  const longest = Math.max(0, samples.length - UNIT);
  clip.querySelector("label").hidden = !longest;
  slider.max = (longest / SAMPLE_RATE).toFixed(2);
  slider.value = state.begin / SAMPLE_RATE;
  clip.querySelector("output").textContent = `${(state.begin / SAMPLE_RATE).toFixed(2)} s`;
  const box = clip.querySelector("rect");
  box.setAttribute("x", (600 * state.begin) / samples.length);
  box.setAttribute("width", 600 * Math.min(1, UNIT / samples.length));
}

/** Where a patch lies, whether it is hidden, and its error. */
function patchWords({ mask, errors }, patch) {
  if (!mask[patch]) return `${placeWords(patch)}: visible, taken from the original`;
  const error = errors ? `, squared error ${errors[patch].toFixed(2)}` : "";
  return `${placeWords(patch)}: hidden${error}`;
}

/** What there is to say of the patch under the pointer, or of the whole picture. */
function readout(state) {
  const { pointed, mask, loss, milliseconds } = state;
  if (pointed !== null) return patchWords(state, pointed);
  const hidden = countHidden(mask);
  const words = [`${hidden} of ${mask.length} patches hidden`];
  if (!hidden) return `${words}; nothing to fill in`;
  const scale = "0: perfect, 1: blind guess";
  if (loss !== null) words.push(`mean squared error ${loss.toFixed(2)} (${scale})`);
  if (milliseconds !== null) words.push(`took ${Math.round(milliseconds)} ms`);
  return words.join("; ");
}

/** Draw what follows the pointer or the cursor: the patch in each picture, and the readout. */
export function renderPointer(state) {
  const path = state.pointed === null ? "" : outlinePath(state.pointed, state.pointed + 1);
  for (const pointed of document.querySelectorAll("#tryit .pointed")) {
    pointed.setAttribute("d", path);
  }
  find("#try-readout").textContent = readout(state);
}

/** Offer the blocks of the decoder, once they are known. */
function renderBlocks({ blocks, block }) {
  const choice = find("#try-block");
  if (choice.querySelectorAll("input").length !== blocks) {
    const options = Array.from({ length: blocks }, (_, i) => {
      const input = `<input type="radio" name="try-block" value="${i}">`;
      return `<label>${input} ${i + 1}</label>`;
    });
    choice.insertAdjacentHTML("beforeend", options.join(" "));
  }
  const chosen = choice.querySelector(`input[value="${block}"]`);
  if (chosen) chosen.checked = true;
}

let drawn = []; // what the panel of heads shows

/** Draw the panel of heads, as far as it has changed. */
function renderHeads(state, onHead) {
  const { patch, attention, windows, head, spectrogram, limits } = state;
  const shown = patch !== null && attention !== null;
  if (shown) find("#try-patch").textContent = `The patch at ${patchWords(state, patch)}`;
  const wanted = [patch, attention, head, state.failed];
  if (wanted.every((value, i) => value === drawn[i])) return;
  drawn = wanted;
  const outlines = shown ? windowOutlines(windows, patch, head) : "";
  find("[data-picture=rebuilt] .windows").innerHTML = outlines;
  const hint = find("#try-hint");
  hint.hidden = shown;
  if (state.failed) hint.textContent = "This part needs the model, which does not run here.";
  find("#try-panel").hidden = !shown;
  if (!shown) return;
  renderBlocks(state);
  find("#try-all-heads").hidden = head === null;
  find("#try-alone").hidden = head === null;
  drawHeads(find("#try-heads"), state, onHead);
  if (head !== null) drawAlone(find("#try-alone"), state, spectrogram, limits);
}

/**
 * Draw everything that depends on the state.
 * @param {object} state see `state.js`
 * @param {(head: number) => void} onHead is called when the reader picks a head
 */
export function render(state, onHead) {
  const { spectrogram, rebuilt, limits, mask, share } = state;
  const canvas = (name) => find(`[data-picture=${name}] canvas`);
  paint(canvas("original"), spectrogram, limits);
  paint(canvas("visible"), spectrogram, limits, mask);
  paint(canvas("rebuilt"), rebuilt ?? spectrogram, limits, rebuilt ? undefined : mask);
  find("#try-share").value = Math.round(100 * share);
  find("#try-mask output").textContent = `${Math.round(100 * share)} %`;
  const stuck = isStuck(state);
  const others = "#try-sounds > [data-sound], #try-file, #try-record, #try-brush input, #try-begin";
  for (const control of document.querySelectorAll(others)) control.disabled = stuck;
  for (const button of document.querySelectorAll("[data-sound]")) {
    button.setAttribute("aria-pressed", button.dataset.sound === state.source);
  }
  for (const button of document.querySelectorAll("[data-play]")) {
    const name = button.dataset.play;
    button.disabled = !state.clip || (name === "rebuilt" && !rebuilt);
    const busy = state.sounding ? "Stop" : "Wait";
    button.textContent = state.playing === name ? busy : "Play";
    button.setAttribute("aria-label", `${button.textContent} ${TITLES[name]}`);
  }
  drawClip(state);
  renderHeads(state, onHead);
  renderPointer(state);
}

/** Move the line of the sound that plays over all pictures; null hides it. */
export function moveLine(share) {
  for (const line of document.querySelectorAll("#tryit .try-line")) {
    line.hidden = share === null;
    line.style.left = `${100 * Math.min(1, share ?? 0)}%`;
  }
}
