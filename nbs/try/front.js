/** The front page: its picture plays the recorded example. */
import { paint } from "./draw.js";
import { loadExample } from "./example.js";
import { SAMPLE_RATE } from "./mel.js";
import { play, stop } from "./play.js";
import { readFile } from "./sound.js";

const PAUSE = 1100; // milliseconds from one mask to the next
const SECONDS = 2; // of the sound that the pictures show
const PICTURES = ["original", "visible", "rebuilt"];

/** The first two seconds of a sound of the site; undefined if the browser cannot play it. */
async function readSound(file) {
  try {
    const response = await fetch(new URL(`../sounds/${file}`, import.meta.url));
    const { samples } = await readFile(await response.blob());
    return samples.subarray(0, SECONDS * SAMPLE_RATE);
  } catch {
    return undefined;
  }
}

/** Put `element` over a part of a picture: left, top, width and height in per cent. */
function lay(element, [left, top, width, height]) {
  const place = { left, top, width, height };
  element.style.position = "absolute";
  for (const [name, value] of Object.entries(place)) element.style[name] = `${value}%`;
  return element;
}

/** Lay a canvas over each picture of the example within `image`, and a line over the waveform. */
function layOver(image, boxes) {
  const frame = document.createElement("span");
  frame.className = "try-front-picture";
  image.replaceWith(frame);
  frame.append(image);
  const canvases = PICTURES.map((name) => {
    const canvas = lay(document.createElement("canvas"), boxes[name]);
    canvas.style.imageRendering = "pixelated";
    canvas.style.background = "lightgrey";
    return canvas;
  });
  const line = lay(document.createElement("i"), boxes.sound);
  line.style.borderLeft = "2px solid #d55e00";
  line.hidden = true;
  frame.append(...canvases, line);
  const [left, , width] = boxes.sound;
  const move = (share) => {
    line.hidden = share === null;
    line.style.left = `${left + width * Math.min(share, 1)}%`;
  };
  return { canvases, move };
}

/**
 * Have a button play the recorded example in a picture that is there already.
 * @param {HTMLElement} root holds a `button` and an `output`; `data-boxes` says where in the picture
 *   `sound`, `original`, `visible` and `rebuilt` lie: left, top, width and height in per cent
 * @param {HTMLImageElement} image the picture
 */
export function connectFront(root, image) {
  const [button, output] = [root.querySelector("button"), root.querySelector("output")];
  const words = button.textContent;
  let [over, example, samples, timer] = [null, null, undefined, null];

  const show = (at) => {
    const { spectrogram, rebuilt, mask, share } = example.frame(at);
    const [original, visible, filled] = over.canvases;
    paint(original, spectrogram, example.limits);
    paint(visible, spectrogram, example.limits, mask);
    paint(filled, rebuilt, example.limits);
    output.textContent = `${Math.round(100 * share)} % hidden`;
  };
  const end = () => {
    clearInterval(timer);
    timer = null;
    stop();
    over.move(null);
    show(0);
    button.textContent = words;
  };
  const begin = () => {
    let at = 0;
    const next = () => (++at < example.count ? show(at) : end());
    timer = setInterval(next, PAUSE);
    button.textContent = "Stop";
    const listeners = { onMove: over.move, onEnd: () => over.move(null) };
    if (samples) play(samples, SAMPLE_RATE, listeners);
  };
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (timer !== null) return end();
    button.disabled = true;
    try {
      example ??= await loadExample();
      samples ??= await readSound(example.sound);
      over ??= layOver(image, JSON.parse(root.dataset.boxes));
      show(0);
      begin();
    } catch (error) {
      output.textContent = `The example cannot be played: ${error.message}`;
    }
    button.disabled = false;
  });
}
