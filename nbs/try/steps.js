/** The six steps of the tour: their words, their chapters, and what they change on the page. */

/**
 * @param {{setShare: Function, look: Function, alone: Function}} page what the tour can do
 * @returns {object[]} steps as `makeTour` takes them
 */
export function tourSteps({ setShare, look, alone }) {
  const clear = () => look(null);
  const picture = (name) => {
    const part = `#try-pictures [data-picture=${name}]`;
    return { part, from: ["#try-sounds", part] };
  };
  return [
    {
      title: "A sound becomes a picture",
      text:
        "Two seconds of sound. Time goes from left to right, pitch from bottom to top; the brighter, " +
        "the louder. Nothing is hidden yet. Play it and follow the line.",
      ...picture("original"),
      links: [["audio.html", "Sound and spectrograms"]],
      enter: () => (clear(), setShare(0)),
    },
    {
      title: "Four fifths are hidden",
      text:
        "The picture is cut into 250 patches, each 40 ms wide and 16 of the 80 bands high. Four in " +
        "five, picked at random, are hidden; the encoder gets only the rest. Paint over this " +
        "picture to hide or show patches yourself.",
      ...picture("visible"),
      links: [
        ["patches.html", "Patches and positions"],
        ["masking.html", "Masking"],
      ],
      enter: () => (clear(), setShare(0.8)),
    },
    {
      title: "The model fills them in",
      text:
        "The decoder predicts each hidden patch from the visible ones. It has learnt that from " +
        "unlabelled recordings. Hidden has moved to 90 %: long tones survive, short ones get lost.",
      ...picture("rebuilt"),
      links: [["model.html", "The masked autoencoder"]],
      enter: () => (clear(), setShare(0.9)),
    },
    {
      title: "Each head has its window",
      text:
        "Hidden is back at 80 %. To rebuild the outlined patch, each head looks only inside its own " +
        "window: some at the patch and one neighbour, two at everything. The brighter a patch, the " +
        "more a head looks at it.",
      part: "#try-inside",
      from: ["#try-pictures", "#try-inside", "#try-panel"],
      links: [["attention.html", "Multi-window attention"]],
      enter: () => (alone(null), look(122), setShare(0.8)),
    },
    {
      title: "The sound becomes a vector",
      text:
        "Once training is over, the decoder is no longer needed. The encoder hears the whole sound " +
        "and returns 1280 numbers, its embedding. The ring with cross-hairs marks where yours lies " +
        "among notes of many instruments.",
      part: "#try-map .try-columns",
      from: ["#try-map", "#try-map .try-plane"],
      links: [["embed.html", "Embeddings"]],
      enter: clear,
    },
    {
      title: "Similar sounds are near",
      text:
        "No one told the model what a note or an instrument is, yet notes of similar pitch and " +
        "timbre lie together. The map holds single notes: a clip of several may lie near other " +
        "instruments. Hear the neighbours of your sound, then try another one.",
      part: "#try-map .try-lists",
      from: ["#try-map", "#try-map .try-lists"],
      links: [["results.html#a-map-of-notes", "Results: A map of notes"]],
      enter: clear,
    },
  ];
}
