/** A guided tour: a card that leads from one part of the page to the next. */

const GAP = 10; // pixels between a part and what is above and below it
const MARGIN = 250; // pixels at the right of the page's part that the card needs to lie there

/**
 * Make a tour.
 * @param {HTMLElement} card holds `.try-step`, `h2`, `p`, `a` and buttons named by `data-go`: back,
 *   next and close
 * @param {{title: string, text: string, part: string, from: string[], links: string[][],
 *   enter: () => (Promise|void)}[]} steps their words, the selector of the part that is shown, where
 *   the view may begin (the first from which that part fits above the card, or the last), the
 *   chapters ([address, title] each), and what changes on the page
 * @returns {() => void} starts the tour
 */
export function makeTour(card, steps) {
  let at = 0;
  let before = null;
  const part = (name) => card.querySelector(name);
  const lit = () =>
    document.querySelectorAll(".try-lit").forEach((e) => e.classList.remove("try-lit"));

  const close = () => {
    lit();
    card.hidden = true;
    document.body.classList.remove("try-touring");
    document.documentElement.style.scrollPadding = "";
    before?.focus();
  };

  /** Scroll to the part of the present step, clear of the page's head and of the card. */
  const bring = () => {
    const head = document.querySelector("header")?.offsetHeight ?? 0;
    const beside = innerWidth - card.parentElement.getBoundingClientRect().right > MARGIN;
    card.classList.toggle("beside", beside);
    const floor = (beside ? innerHeight : card.getBoundingClientRect().top) - GAP;
    const ceiling = head + GAP;
    const edges = `${ceiling}px 0 ${innerHeight - floor}px`;
    document.documentElement.style.scrollPadding = edges;
    const end = document.querySelector(steps[at].part).getBoundingClientRect().bottom;
    const begins = steps[at].from.map((selector) => document.querySelector(selector));
    const fits = (element) => end - element.getBoundingClientRect().top <= floor - ceiling;
    const begin = begins.find(fits) ?? begins.at(-1);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    begin.scrollIntoView({ block: "start", behavior: calm ? "instant" : "smooth" });
  };

  const show = (step) => {
    at = step;
    const { title, text, links, enter } = steps[at];
    part(".try-step").textContent = `Step ${at + 1} of ${steps.length}`;
    part("h2").textContent = title;
    part("p").textContent = text;
    const chapters = links.map(([address, name]) => {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = name;
      return link;
    });
    part(".try-links").replaceChildren(
      "Read on: ",
      ...chapters.flatMap((a, i) => (i ? [", ", a] : [a])),
    );
    part("[data-go=back]").disabled = at === 0;
    part("[data-go=next]").textContent = at === steps.length - 1 ? "Done" : "Next";
    lit();
    document.querySelector(steps[at].part).classList.add("try-lit");
    part("h2").focus({ preventScroll: true });
    Promise.resolve(enter()).then(() => step === at && !card.hidden && bring());
    bring();
  };

  const go = (where) => {
    if (where === "close" || at + where === steps.length) close();
    else if (at + where >= 0) show(at + where);
  };
  part("[data-go=back]").addEventListener("click", () => go(-1));
  part("[data-go=next]").addEventListener("click", () => go(1));
  part("[data-go=close]").addEventListener("click", () => go("close"));
  document.addEventListener("keydown", ({ key, target }) => {
    if (card.hidden || target.matches("input, .try-frame")) return;
    const keys = { ArrowLeft: -1, ArrowRight: 1, Escape: "close" };
    if (key in keys) go(keys[key]);
  });

  return () => {
    before = document.activeElement;
    card.hidden = false;
    document.body.classList.add("try-touring");
    show(0);
  };
}
