/** The map of sounds: points by kind, this sound's place, and its nearest neighbours. */
import { playEncoded } from "./play.js";

const SHAPES = {
  circle: "M1.1,0A1.1,1.1 0 1 1 -1.1,0A1.1,1.1 0 1 1 1.1,0Z",
  square: "M-1,-1H1V1H-1Z",
  diamond: "M0,-1.4L1.4,0L0,1.4L-1.4,0Z",
  triangle: "M0,-1.3L1.2,.9H-1.2Z",
  cross: "M-.4,-1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
};
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b"];
const SVG = "http://www.w3.org/2000/svg";
const TONES = "C C♯ D D♯ E F F♯ G G♯ A A♯ B".split(" ");
const FINGER = 24; // pixels from a tap to the mark that is meant

/** The name of a note from its MIDI number, such as `G2` for 43; middle C, 60, is C4. */
export const noteName = (number) => `${TONES[number % 12]}${Math.floor(number / 12) - 1}`;

/** Colour and shape of a kind of sound, by its number; all differ for up to 25 kinds. */
function styleOf(kind) {
  const shapes = Object.values(SHAPES);
  return { colour: COLOURS[kind % 5], shape: shapes[(kind + Math.floor(kind / 5)) % 5] };
}

/** The mark of a kind as a small picture in the text. */
function mark(kind) {
  const { colour, shape } = styleOf(kind);
  const path = `<path d="${shape}" fill="${colour}"/>`;
  return `<svg class="try-mark" viewBox="-1.6 -1.6 3.2 3.2" aria-hidden="true">${path}</svg>`;
}

/** The mark that is nearest to a tap, if it is within a finger's reach; else -1. */
function markNear(points, { clientX, clientY }) {
  const distances = points.map((point) => {
    const { left, right, top, bottom } = point.getBoundingClientRect();
    return Math.hypot((left + right) / 2 - clientX, (top + bottom) / 2 - clientY);
  });
  const least = Math.min(...distances);
  return least <= FINGER ? distances.indexOf(least) : -1;
}

/** The nearest point to the left, right, above or below of another; that one, if there is none. */
function nextPoint(xy, from, [dx, dy]) {
  if (from < 0) return 0;
  let [best, least] = [from, Infinity];
  for (let i = 0; i < xy.length / 2; i++) {
    const [x, y] = [xy[2 * i] - xy[2 * from], xy[2 * i + 1] - xy[2 * from + 1]];
    const [ahead, aside] = [x * dx + y * dy, Math.abs(x * dy - y * dx)];
    const distance = Math.hypot(x, y);
    if (ahead >= aside && distance > 0 && distance < least) [best, least] = [i, distance];
  }
  return best;
}

const button = (html) => {
  const element = document.createElement("button");
  element.type = "button";
  element.innerHTML = html;
  return element;
};

/**
 * Draw a map of sounds.
 * @param {HTMLElement} root holds `svg`, `.try-kinds`, `.try-near` and `.try-said`
 * @param {{tensors: object, metadata: object}} atlas from `readTensors`
 * @returns {(place: {x: number, y: number, neighbours: object[]}) => void} shows where a sound lies
 */
export function makeMap(root, { tensors, metadata }) {
  const [labels, notes] = ["labels", "notes"].map((name) => JSON.parse(metadata[name]));
  const [xy, sounds, starts] = ["xy", "sounds", "starts"].map((name) => tensors[name].data);
  const kinds = [...new Set(labels)].sort();
  const svg = root.querySelector("svg");
  const said = root.querySelector(".try-said");
  const move = (x, y) => `translate(${(1.4 * x).toFixed(2)} ${(0.9 * y).toFixed(2)})`;
  let at = -1; // the point that the keys have reached
  const words = (i) => `${labels[i]}, ${noteName(notes[i])}`;

  const hear = async (i) => {
    at = i;
    said.textContent = words(i);
    const bytes = sounds.subarray(starts[i], starts[i + 1]);
    if (!bytes.length) return;
    points[i].classList.add("heard");
    const onEnd = () => points[i].classList.remove("heard");
    try {
      await playEncoded(bytes, { onEnd });
    } catch {
      onEnd();
      said.textContent = `${words(i)}: this browser cannot play it.`;
    }
  };

  const points = labels.map((label, i) => {
    const { colour, shape } = styleOf(kinds.indexOf(label));
    const point = document.createElementNS(SVG, "path");
    const attributes = { d: shape, fill: colour, transform: move(xy[2 * i], xy[2 * i + 1]) };
    for (const [name, value] of Object.entries(attributes)) point.setAttribute(name, value);
    point.addEventListener("pointerenter", () => (said.textContent = words(i)));
    return point;
  });
  svg.addEventListener("click", (event) => {
    const on = points.indexOf(event.target);
    const meant = on < 0 ? markNear(points, event) : on;
    if (meant >= 0) hear(meant);
  });
  const here = document.createElementNS(SVG, "g");
  here.setAttribute("class", "try-here");
  here.innerHTML = '<circle r="3.2"/><path d="M0,-7V-2.2M0,2.2V7M-7,0H-2.2M2.2,0H7"/>';
  here.setAttribute("visibility", "hidden");
  const lines = document.createElementNS(SVG, "path");
  lines.setAttribute("class", "try-lines");
  svg.replaceChildren(lines, ...points, here);

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && at >= 0) hear(at);
    else if (event.key in arrows) {
      points[at]?.classList.remove("at");
      at = nextPoint(xy, at, arrows[event.key]);
      points[at].classList.add("at");
      said.textContent = words(at);
    } else return;
    event.preventDefault();
  });

  root.querySelector(".try-kinds").replaceChildren(
    ...kinds.map((kind, number) => {
      const choice = button(`${mark(number)} `);
      choice.append(kind);
      choice.setAttribute("aria-pressed", false);
      choice.addEventListener("click", () => {
        const on = choice.getAttribute("aria-pressed") !== "true";
        for (const other of choice.parentElement.children) {
          other.setAttribute("aria-pressed", on && other === choice);
        }
        points.forEach((point, i) => point.classList.toggle("dim", on && labels[i] !== kind));
      });
      return choice;
    }),
  );

  const { credit } = metadata;
  root.querySelector(".try-credit span").textContent = credit ? `Sounds: ${credit}.` : "";
  root.classList.add("try-drawn");
  return ({ x, y, neighbours }) => {
    at = neighbours[0].index;
    here.setAttribute("transform", move(x, y));
    here.setAttribute("visibility", "visible");
    const near = neighbours.map(({ index }) => [1.4 * xy[2 * index], 0.9 * xy[2 * index + 1]]);
    lines.setAttribute("d", near.map(([u, v]) => `M${1.4 * x},${0.9 * y}L${u},${v}`).join(""));
    root.querySelector(".try-near").replaceChildren(
      ...neighbours.map(({ index, similarity }) => {
        const item = document.createElement("li");
        const choice = button(`${mark(kinds.indexOf(labels[index]))} `);
        choice.append(words(index));
        choice.setAttribute("aria-label", `Hear ${words(index)}`);
        choice.title = `MIDI note ${notes[index]}`;
        choice.addEventListener("click", () => hear(index));
        item.append(choice, ` ${similarity.toFixed(2)}`);
        return item;
      }),
    );
  };
}
