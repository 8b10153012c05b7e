/** Plays one sound at a time. */

let context, source, finish;

/** The page's audio context, started by the first sound that the reader asks for. */
function audio() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
  return context;
}

/** Stop what is playing, if anything is. */
export function stop() {
  finish?.();
}

/** Play `buffer` (an AudioBuffer); see `play`. */
function start(buffer, { onMove, onEnd }) {
  stop();
  source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  const node = source;
  const began = context.currentTime;
  let frame = 0;
  const move = () => {
    onMove?.((context.currentTime - began) / buffer.duration);
    frame = requestAnimationFrame(move);
  };
  finish = () => {
    finish = undefined;
    cancelAnimationFrame(frame);
    node.onended = null;
    node.stop();
    onEnd?.();
  };
  node.onended = finish;
  node.start();
  move();
}

/**
 * Play a sound instead of any other.
 * @param {Float32Array} samples mono
 * @param {number} rate samples a second
 * @param {{onMove?: (share: number) => void, onEnd?: () => void}} listeners are told how much of
 *   it was heard, from 0 to 1, and when it ends or is stopped
 */
export function play(samples, rate, listeners = {}) {
  const buffer = audio().createBuffer(1, samples.length, rate);
  buffer.copyToChannel(samples, 0);
  start(buffer, listeners);
}

/** Play an encoded sound, such as the bytes (Uint8Array) of an MP3. */
export async function playEncoded(bytes, listeners = {}) {
  const buffer = await audio().decodeAudioData(bytes.slice().buffer);
  start(buffer, listeners);
}
