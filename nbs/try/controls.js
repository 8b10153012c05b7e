/** What the reader does with buttons, sliders, pointer, keys and files. */
import { neighbour, patchAt, stroke } from "./masks.js";
import { SAMPLE_RATE } from "./mel.js";
import { SoundError, readFile, readSite, record } from "./sound.js";
import { isStuck, state } from "./state.js";
import { tourSteps } from "./steps.js";
import { makeTour } from "./tour.js";
import { say } from "./view.js";

let asked = 0; // how many sounds were asked for; only the newest is shown

/** Run `action`; what goes wrong becomes a sentence. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    const known = error instanceof SoundError;
    say(known ? error.message : `That did not work: ${error.message}`, true);
  }
}

/** Show the sound that `read` gets: `{samples, words, source}`, if no other was asked for since. */
function show(page, read) {
  const mine = ++asked;
  return attempt(async () => {
    const sound = await read().catch((error) => {
      if (mine === asked) throw error;
    });
    if (mine === asked) await page.setSound(sound.samples, sound.words, sound.source);
  });
}

/** Read a file that was chosen or dropped, and show it. */
function openFile(page, file) {
  if (!file || isStuck(state)) return;
  say(`Reading ${file.name} …`);
  show(page, async () => {
    const { samples, cut } = await readFile(file);
    return { samples, words: cut ? `The first part of ${file.name}` : file.name };
  });
}

/** Sounds: buttons of the site's, a file, a drop anywhere, the microphone. */
function connectSounds(root, page) {
  for (const button of root.querySelectorAll("[data-sound]")) {
    const { sound: source } = button.dataset;
    const words = button.textContent[0].toUpperCase() + button.textContent.slice(1);
    button.addEventListener("click", () =>
      show(page, async () => ({ samples: await readSite(source), words, source })),
    );
  }
  const input = root.querySelector("#try-file");
  input.addEventListener("change", () => {
    openFile(page, input.files[0]);
    input.value = "";
  });
  const microphone = root.querySelector("#try-record");
  microphone.addEventListener("click", async () => {
    page.silence();
    microphone.disabled = true;
    await show(page, async () => {
      const samples = await record(2, () => say("Recording two seconds …"));
      return { samples, words: "Your recording" };
    });
    microphone.disabled = false;
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("try-over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) root.classList.remove("try-over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("try-over");
    openFile(page, event.dataTransfer.files[0]);
  });
}

/** Where the two seconds begin: a slider, or the waveform itself. */
function connectClip(root, page) {
  const slider = root.querySelector("#try-begin");
  slider.addEventListener("input", () => page.setBegin(Number(slider.value)));
  const wave = root.querySelector("#try-clip svg");
  const move = (event) => {
    if (!event.buttons || !state.samples) return;
    const { left, width } = wave.getBoundingClientRect();
    const middle = ((event.clientX - left) / width) * (state.samples.length / SAMPLE_RATE);
    page.setBegin(Math.max(0, middle - 1));
  };
  wave.addEventListener("pointerdown", move);
  wave.addEventListener("pointermove", move);
}

/** The patch under the pointer, or null. */
function patchUnder(event) {
  const box = event.currentTarget.getBoundingClientRect();
  const patch = patchAt(event.clientX - box.left, event.clientY - box.top, box.width, box.height);
  return patch < 0 ? null : patch;
}

/** Paint over the visible picture: what the first patch becomes, all that follow become. */
function connectBrush(root, page) {
  const frame = root.querySelector("[data-picture=visible] .try-frame");
  let last = null;
  let hide = true;
  frame.addEventListener("pointerdown", (event) => {
    const patch = patchUnder(event);
    if (patch === null || event.button !== 0) return;
    const mode = root.querySelector("#try-brush input:checked").value;
    hide = mode === "flip" ? !state.mask[patch] : mode === "hide";
    last = patch;
    frame.setPointerCapture(event.pointerId);
    page.paintMask([patch], hide);
  });
  frame.addEventListener("pointermove", (event) => {
    const patch = patchUnder(event);
    if (last === null || patch === null || patch === last) return;
    page.paintMask(stroke(last, patch), hide);
    last = patch;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => (last = null));
  }
}

/** Point at patches with the pointer or with a cursor that the keys move. */
function connectFrame(frame, page) {
  const name = frame.closest("figure").dataset.picture;
  frame.addEventListener("pointermove", (event) => page.point(patchUnder(event)));
  frame.addEventListener("pointerleave", () => page.point(null));
  frame.addEventListener("blur", () => page.point(null));
  frame.addEventListener("focus", () => {
    if (frame.matches(":focus-visible")) page.point(state.pointed ?? state.patch ?? 0);
  });
  if (name !== "visible") {
    frame.addEventListener("click", (event) => {
      const patch = patchUnder(event);
      page.look(patch === state.patch ? null : patch);
    });
  }
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  frame.addEventListener("keydown", (event) => {
    const at = state.pointed ?? 0;
    if (moves[event.key]) page.point(neighbour(at, ...moves[event.key]));
    else if (event.key === " ") page.paintMask([at], !state.mask[at]);
    else if (event.key === "Enter") page.look(at);
    else return;
    event.preventDefault();
  });
}

/** Everything about masks, patches and heads. */
function connectPictures(root, page) {
  const slider = root.querySelector("#try-share");
  slider.addEventListener("input", () => page.setShare(Number(slider.value) / 100));
  root.querySelector("#try-another").addEventListener("click", () => page.setSeed(state.seed + 1));
  for (const frame of root.querySelectorAll(".try-frame")) connectFrame(frame, page);
  connectBrush(root, page);
  for (const button of root.querySelectorAll("[data-play]")) {
    button.addEventListener("click", () => attempt(() => page.hear(button.dataset.play)));
  }
  root.querySelector("#try-all-heads").addEventListener("click", () => page.alone(null));
  root.querySelector("#try-block").addEventListener("change", (event) => {
    page.setBlock(Number(event.target.value));
  });
}

/** Call `loadMap` when the reader comes near the map. */
export function watchMap(root, loadMap) {
  const watch = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      const near = root.querySelector(".try-near li");
      loadMap().catch((error) => (near.textContent = `There is no map: ${error.message}.`));
    },
    { rootMargin: "300px" },
  );
  watch.observe(root.querySelector("#try-map"));
}

/**
 * Connect the whole page.
 * @param {HTMLElement} root the page's part
 * @param {object} page what changes the state, by name: `setSound`, `setShare` and so on
 */
export function connect(root, page) {
  connectSounds(root, page);
  connectClip(root, page);
  connectPictures(root, page);
  const startTour = makeTour(root.querySelector("#try-card"), tourSteps(page));
  root.querySelector("#try-tour").addEventListener("click", startTour);
}
