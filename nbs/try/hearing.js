/** Plays what each of the three pictures sounds like. */
import { makeSound } from "./engine.js";
import { SAMPLE_RATE } from "./mel.js";
import { play, stop } from "./play.js";
import { UNIT } from "./state.js";
import { moveLine } from "./view.js";

/** The sound of a picture: samples at 16 kHz. */
function soundOf(name, { clip: samples, mask, rebuilt, scale }) {
  if (name === "original") return samples;
  if (name === "visible") return makeSound("visible", { samples, mask });
  const spectrogram = rebuilt.map((value) => value * scale.deviation + scale.mean);
  return makeSound("rebuilt", { samples, mask, spectrogram });
}

/**
 * What plays and stops the sounds of the pictures.
 * @param {object} state the page's
 * @param {() => void} draw is called when something begins or ends
 * @returns {{hear: (name: string) => Promise, silence: () => void}} `hear` plays a picture's sound,
 *   or stops it if it is the one that plays; `silence` stops what is heard
 */
export function makeHearing(state, draw) {
  const silence = () => {
    stop();
    Object.assign(state, { playing: null, sounding: false });
    moveLine(null);
    draw();
  };
  const hear = async (name) => {
    const again = state.playing === name;
    silence();
    if (again) return;
    state.playing = name;
    draw();
    try {
      const samples = await soundOf(name, state);
      if (state.playing !== name) return;
      const share = samples.length / UNIT;
      play(samples, SAMPLE_RATE, { onMove: (heard) => moveLine(heard * share), onEnd: silence });
      Object.assign(state, { playing: name, sounding: true });
      draw();
    } catch (error) {
      silence();
      throw error;
    }
  };
  return { hear, silence };
}
