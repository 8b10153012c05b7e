/** The heads of the decoder: their colours, windows and attention weights. */
import { outlinePath, paint, paintPatches, range } from "./draw.js";
import { BANDS, PATCHES, rectangle, windowOf, windowSize } from "./patches.js";

/** A colour for each head; Okabe and Ito's, which colour-blind readers can tell apart. */
export const HEAD_COLOURS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#f0e442",
  "#c8c8c8",
];

const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

/** Seconds and hertz of a patch in words, such as `0.96 to 1.00 s, 610 to 1330 Hz`. */
export function placeWords(patch) {
  const { seconds, hertz } = rectangle(patch);
  const [from, to] = seconds.map((value) => value.toFixed(2));
  const [low, high] = hertz.map((value) => Math.round(value / 10) * 10);
  return `${from} to ${to} s, ${low} to ${high} Hz`;
}

/** The size of the window that a patch lies in, such as `25 patches, 0.2 s`. */
export function windowWords(patch, size) {
  const [first, last] = windowOf(patch, size);
  const times = Math.ceil(last / BANDS) - Math.floor(first / BANDS);
  const { seconds } = windowSize(times * BANDS);
  const length = seconds < 0.1 ? `${Math.round(1000 * seconds)} ms` : `${seconds} s`;
  return `${size} patches, ${length}`;
}

/**
 * The weights with which a head looks from one patch at all.
 * @param {Float32Array} attention (heads x 250 x 250)
 * @returns {Float32Array} (250), which sum to 1
 */
export function weightsOf(attention, head, patch) {
  const row = (head * PATCHES + patch) * PATCHES;
  return attention.subarray(row, row + PATCHES);
}

/** The same, with the largest weight as 1. */
function scaled(weights) {
  const [, highest] = range(weights);
  return weights.map((weight) => weight / (highest || 1));
}

/** Mark the window of a head under the pointer on the rebuilt picture; null marks none. */
function markWindow(head) {
  for (const window of document.querySelectorAll("#tryit .windows g")) {
    window.classList.toggle("strong", Number(window.dataset.head) === head);
  }
}

/** A card for one head, a button. */
function makeCard(head, onChoose) {
  const card = document.createElement("button");
  card.type = "button";
  card.className = "try-head";
  card.style.setProperty("--head", HEAD_COLOURS[head % HEAD_COLOURS.length]);
  card.innerHTML =
    "<b></b> <span></span><i><canvas></canvas>" +
    '<svg viewBox="0 0 50 5" preserveAspectRatio="none" aria-hidden="true"><path/></svg></i>' +
    "<small></small>";
  card.querySelector("b").textContent = `Head ${head + 1}:`;
  card.addEventListener("click", () => onChoose(head));
  for (const name of ["pointerenter", "focus"]) card.addEventListener(name, () => markWindow(head));
  for (const name of ["pointerleave", "blur"]) card.addEventListener(name, () => markWindow(null));
  return card;
}

/**
 * The outlines of all windows that hold a patch, as SVG, widest first.
 * @param {number[]} windows patches in the window of each head
 * @param {number} patch which one
 * @param {number|null} alone the only head to be drawn; null draws all
 */
export function windowOutlines(windows, patch, alone) {
  const heads = [...windows.keys()].filter((head) => alone === null || head === alone);
  const outlines = heads.reverse().map((head) => {
    const path = outlinePath(...windowOf(patch, windows[head]));
    const colour = HEAD_COLOURS[head % HEAD_COLOURS.length];
    const lines = `<path class="casing" d="${path}"/><path d="${path}" stroke="${colour}"/>`;
    return `<g data-head="${head}"${alone === head ? ' class="alone"' : ""}>${lines}</g>`;
  });
  const own = outlinePath(patch, patch + 1);
  return outlines.join("") + `<path class="casing" d="${own}"/><path class="own" d="${own}"/>`;
}

/**
 * Fill the panel of heads for a patch.
 * @param {HTMLElement} list gets a card for each head
 * @param {{windows: number[], attention: Float32Array, patch: number, head: number|null}} view
 *   what to show; `head` is the one that is shown alone
 * @param {(head: number) => void} onChoose is called when the reader picks a card
 */
export function drawHeads(list, { windows, attention, patch, head }, onChoose) {
  if (list.children.length !== windows.length) {
    list.replaceChildren(...windows.map((_, i) => makeCard(i, onChoose)));
  }
  windows.forEach((size, i) => {
    const card = list.children[i];
    const weights = weightsOf(attention, i, patch);
    const most = weights.indexOf(range(weights)[1]);
    const colour = rgb(HEAD_COLOURS[i % HEAD_COLOURS.length]);
    card.querySelector("span").textContent = windowWords(patch, size);
    card.setAttribute("aria-pressed", head === i);
    card.querySelector("path").setAttribute("d", outlinePath(patch, patch + 1));
    paintPatches(card.querySelector("canvas"), scaled(weights), colour, windowOf(patch, size));
    const share = Math.round(100 * weights[most]);
    card.querySelector("small").textContent = `Looks most at ${placeWords(most)} (${share} %)`;
  });
}

/**
 * Show one head large: its attention weights over the spectrogram, in grey.
 * @param {HTMLElement} frame holds two canvases and an SVG
 * @param {{windows: number[], attention: Float32Array, patch: number, head: number}} view
 * @param {Float32Array} values (200 x 80) the spectrogram
 * @param {number[]} limits values of its lowest and highest colour
 */
export function drawAlone(frame, { windows, attention, patch, head }, values, limits) {
  const [picture, weights] = frame.querySelectorAll("canvas");
  const colour = HEAD_COLOURS[head % HEAD_COLOURS.length];
  paint(picture, values, limits);
  const shares = scaled(weightsOf(attention, head, patch));
  paintPatches(weights, shares, rgb(colour), windowOf(patch, windows[head]));
  frame.querySelector("svg").innerHTML = windowOutlines(windows, patch, head);
}
