/** Sounds from files and from the microphone, as mono samples at 16 kHz. */
import { SAMPLE_RATE } from "./mel.js";
import { range } from "./draw.js";

const READ_AT_MOST = 64 * 2 ** 20; // bytes of a WAV file
const READ_AT_MOST_PACKED = 16 * 2 ** 20; // bytes of any other file, which grow when decoded
const SHORTEST = 400; // samples, 25 ms: one frame

/** A sound that cannot be used, with a sentence for the reader. */
export class SoundError extends Error {}

/** Decode a file and resample it to 16 kHz: an AudioBuffer. */
function decode(bytes) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  return context.decodeAudioData(bytes);
}

/** The mean of all channels of an AudioBuffer: Float32Array (samples). */
function mono(buffer) {
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const values = buffer.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += values[i] / buffer.numberOfChannels;
  }
  return samples;
}

/**
 * What a sound holds, or a `SoundError` that says why the model can make nothing of it.
 * @param {Float32Array} samples mono sound
 * @param {string} name what the sentence calls it
 */
function check(samples, name) {
  if (samples.length < SHORTEST) {
    const count = samples.length === 1 ? "1 sample" : `${samples.length} samples`;
    throw new SoundError(`${name} is too short: ${count} at 16 kHz, expected 25 ms or more.`);
  }
  if (!samples.every(Number.isFinite)) {
    throw new SoundError(`${name} holds values that are no numbers (NaN or infinity).`);
  }
  const peak = Math.max(...range(samples).map(Math.abs));
  if (peak < 1e-5) throw new SoundError(`${name} is silent, so there is nothing to rebuild.`);
  if (peak > 1e4) throw new SoundError(`${name} is far too loud: samples go from -1 to 1.`);
  return samples;
}

/** Shorten a file to `limit` bytes; a WAV file gets a header that fits, as browsers demand. */
async function firstBytes(file, limit) {
  const bytes = await file.slice(0, limit).arrayBuffer();
  const view = new DataView(bytes);
  const text = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 44 || text(0) !== "RIFF") return bytes;
  view.setUint32(4, bytes.byteLength - 8, true);
  let at = 12;
  while (at + 8 < bytes.byteLength && text(at) !== "data") at += 8 + view.getUint32(at + 4, true);
  if (at + 8 < bytes.byteLength) view.setUint32(at + 4, bytes.byteLength - at - 8, true);
  return bytes;
}

/**
 * Read a sound file of any kind that the browser knows.
 * @param {File|Blob} file with a `name`, if it has one
 * @returns {Promise<{samples: Float32Array, cut: boolean}>} mono at 16 kHz, and whether a very
 *   large file was read only in part. Throws a `SoundError`.
 */
export async function readFile(file, name = file.name || "The sound") {
  if (file.size === 0) throw new SoundError(`${name} is empty (0 bytes).`);
  const start = new TextDecoder("latin1").decode(await file.slice(0, 12).arrayBuffer());
  const wav = start.startsWith("RIFF") && start.endsWith("WAVE");
  const limit = wav ? READ_AT_MOST : READ_AT_MOST_PACKED;
  const cut = file.size > limit;
  let buffer;
  try {
    buffer = await decode(await (cut ? firstBytes(file, limit) : file.arrayBuffer()));
  } catch {
    const hint = cut
      ? "is no sound that can be read in part"
      : "is no sound that this browser knows";
    throw new SoundError(`${name} ${hint}. Try a WAV, FLAC, Ogg or MP3 file.`);
  }
  return { samples: check(mono(buffer), name), cut };
}

/** Samples of one of the site's sounds, by its file name: Float32Array, mono at 16 kHz. */
export async function readSite(name) {
  const response = await fetch(new URL(`../sounds/${name}`, import.meta.url)).catch(() => ({}));
  if (!response.ok) throw new SoundError(`${name} could not be downloaded.`);
  return (await readFile(await response.blob(), name)).samples;
}

/** Why the microphone could not be used, as a sentence. */
function refusal(error) {
  const reasons = {
    NotAllowedError:
      "The browser may not use the microphone. Allow it for this page and try again.",
    NotFoundError: "There is no microphone.",
    NotReadableError: "The microphone is in use by another program.",
  };
  return reasons[error.name] ?? `The microphone could not be used (${error.message}).`;
}

/**
 * Record from the microphone.
 * @param {number} seconds how long
 * @param {() => void} onStart is called when the recording begins
 * @returns {Promise<Float32Array>} mono at 16 kHz. Throws a `SoundError`.
 */
export async function record(seconds, onStart) {
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) {
    throw new SoundError("This browser cannot record here. Open a file instead.");
  }
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch (error) {
    throw new SoundError(refusal(error));
  }
  try {
    const recorder = new MediaRecorder(stream);
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    onStart();
    // a little more than asked for: the first moments are often lost
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds + 200));
    recorder.stop();
    await stopped;
    const { samples } = await readFile(new Blob(parts), "The recording");
    return samples.subarray(-Math.round(seconds * SAMPLE_RATE));
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}
