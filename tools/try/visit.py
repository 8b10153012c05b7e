"""A visit to the page 'Try it' in Chromium: what it loads, what it holds, what it draws and what it plays."""
import base64
import sys
import threading
import time
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browse_site import Browse, SiteHandler, WIDE

INIT = r"""
window.heard = [];  // of every sound that was started: seconds, peak, and the root mean square of its parts
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  const values = this.buffer.getChannelData(0);
  let peak = 0, finite = true;
  for (const value of values) { peak = Math.max(peak, Math.abs(value)); finite &&= Number.isFinite(value); }
  window.heard.push({seconds: this.buffer.duration, peak, finite, rate: this.buffer.sampleRate});
  return start.apply(this, when);
};
const Plain = window.Worker;
const open = new Set();  // questions to workers that have no answer yet
let workers = 0;
window.Worker = class extends Plain {
  constructor(...given) {
    super(...given);
    this.number = workers++;
    this.addEventListener("message", ({data}) => open.delete(`${this.number} ${data.id}`));
  }
  postMessage(message, ...rest) {
    open.add(`${this.number} ${message.id}`);
    return super.postMessage(message, ...rest);
  }
};
// A typed array as its kind, such as Float32, and its bytes.
window.packed = value => {
  if (!ArrayBuffer.isView(value)) return value;
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  let data = "";
  for (let i = 0; i < bytes.length; i += 32768) data += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return {kind: value.constructor.name.replace(/(Clamped)?Array$/, ""), data: btoa(data)};
};
const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
window.settled = async () => {
  for (let calm = 0; calm < 3; calm = open.size ? 0 : calm + 1) await frame();
};
"""
SHOWN = """() => {
  const canvas = document.querySelector("#tryit [data-picture=rebuilt] canvas");
  if (!window.tryit?.state.rebuilt || !canvas?.width) return 0;
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some(value => value) && performance.timeOrigin + performance.now();
}"""
DROP = """async ({address, name, type}) => {
  const bytes = await (await fetch(address)).arrayBuffer();
  const moved = new DataTransfer();
  moved.items.add(new File([bytes], name, {type}));
  const target = document.querySelector("#tryit");
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: moved, bubbles: true, cancelable: true}));
}"""
NAMELESS = """() => [...document.querySelectorAll("#tryit :is(button, input, [role], [tabindex])")].filter(e => {
  if (!e.getClientRects().length) return false;
  const labels = [...(e.labels ?? [])].map(l => l.textContent).join("");
  const named = document.getElementById(e.getAttribute("aria-labelledby"))?.textContent;
  const status = /^(status|group)$/.test(e.getAttribute("role")) && e.id === "try-message";
  return !(e.getAttribute("aria-label") || named || labels.trim() || e.textContent.trim() || status);
}).map(e => e.outerHTML.slice(0, 80))"""
REACHED = """() => [...document.querySelectorAll("#tryit :is(button, input, [tabindex='0'])")].filter(e => {
  if (e.disabled || !e.getClientRects().length || getComputedStyle(e).visibility === "hidden") return false;
  return e.type !== "radio" || e.checked;
}).map((e, i) => { e.dataset.stop = i; return e.outerHTML.slice(0, 80); })"""


class Handler(SiteHandler):
    "A plain file server that keeps account of what it sent, and has some files to drop on the page."
    sent, extra = [], {}  # (time, path, bytes) of every piece; bytes by name

    def do_GET(self):
        "Answer with a file to drop, or with one of the site."
        name = self.path.removeprefix(f"{self.base}dropped/")
        if name not in self.extra:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.extra[name])))
        self.end_headers()
        self.wfile.write(self.extra[name])

    def copyfile(self, source, outputfile):
        "Send a file piece by piece."
        while piece := source.read(1 << 16):
            outputfile.write(piece)
            self.sent.append((time.time(), self.path, len(piece)))


def serve(
    site: Path,  # the folder of the site
    base: str,  # the path at which it is published, as /mwmae/
    extra: dict[str, bytes],  # files to drop
) -> ThreadingHTTPServer:  # it runs in a thread until `shutdown`; its `sent` is what it sent
    "Serve the site on this machine alone, on any free port."
    sent = []
    handler = type("TryHandler", (Handler,), {"base": base, "sent": sent, "extra": extra})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(site)))
    server.sent, server.extra, server.address = sent, extra, f"http://127.0.0.1:{server.server_port}{base}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Visit(Browse):
    "One reader with an empty cache."

    def __init__(self, browser, server, site: Path, script: str = ""):
        super().__init__(browser, site, site, server.address)
        self.server = server
        self.context.grant_permissions(["microphone"])
        self.context.add_init_script(INIT + script)

    def begin(self, name: str = "try.html", where: str = "") -> float:  # seconds until the recorded example was seen
        "Open the page and wait for its first picture."
        self.sent_before = len(self.server.sent)
        self.open(name)
        self.where = where or name
        shown = self.page.wait_for_function(SHOWN).json_value()
        self.shown = shown / 1000
        return self.shown - self.page.evaluate("performance.timeOrigin") / 1000

    def sent(self, until: float = float("inf"), only: str = "") -> int:  # bytes
        "What the server sent in this visit, up to some time."
        return sum(size for when, path, size in self.server.sent[self.sent_before:] if when <= until and only in path)

    def ready(self) -> float:  # seconds since the page was opened
        "Wait for the model."
        self.page.evaluate("() => window.tryit.ready")
        return self.page.evaluate("performance.now()") / 1000

    def settle(self):
        "Wait until no question to the model is open, so that the picture belongs to the mask."
        self.page.evaluate("() => window.settled()")

    def state(self, name: str):
        "A value of the page's state; arrays of numbers come as NumPy's."
        return self.numbers(f"window.tryit.state.{name}")

    def numbers(self, expression: str):
        "A value of the page; typed arrays come as NumPy's."
        found = self.page.evaluate(f"async () => window.packed(await {expression})")
        packed = isinstance(found, dict) and "kind" in found
        return np.frombuffer(base64.b64decode(found["data"]), found["kind"].lower()).copy() if packed else found

    def pixels(self, selector: str) -> np.ndarray:  # (height, width, 4)
        "What a canvas holds."
        canvas = f"document.querySelector('{selector}')"
        data = self.numbers(f"{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, {canvas}.height).data")
        return data.reshape(-1, self.page.evaluate(f"{canvas}.width"), 4)

    def heard(self, act, wait: int = 20_000) -> dict:  # seconds, peak, finite and rate of the sound
        "Do something that starts a sound, and tell which."
        before = self.page.evaluate("window.heard.length")
        act()
        self.page.wait_for_function("count => window.heard.length > count", arg=before, timeout=wait)
        return self.page.evaluate("window.heard.at(-1)")

    def drop(self, name: str, kind: str = "audio/wav") -> str:  # what the page says to it
        "Drop a file on the page, and wait for its answer."
        self.page.evaluate("() => { document.querySelector('#try-message').textContent = ''; }")
        self.page.evaluate(DROP, {"address": f"{self.address}dropped/{name}", "name": name, "type": kind})
        answered = "() => { const e = document.querySelector('#try-message'); return /\\S/.test(e.textContent) && !/…/.test(e.textContent) && e.textContent; }"
        return self.page.wait_for_function(answered, timeout=60_000).json_value()

    def text(self, selector: str) -> str:
        "The words of an element."
        return self.page.locator(selector).first.inner_text()

    def no_wider(self, what: str):
        "Nothing reaches beyond the right edge of the window."
        width = self.page.viewport_size["width"]
        wide = self.page.evaluate(WIDE)
        self.check(wide["scroll"] <= width and not wide["found"], f"{what} at {width} px: {wide['scroll']} px wide; {'; '.join(wide['found'][:3])}")

    def quiet(self, *expected: str):
        "No error, nothing that could not be had, no other host; but for events with these words."
        wrong = [event for event in dict.fromkeys(self.events) if not any(words in event for words in expected)]
        self.check(not wrong, "; ".join(wrong))
        self.events.clear()

    def keyboard(self):
        "Every control has a name, and Tab leads to every one."
        nameless = self.page.evaluate(NAMELESS)
        self.check(not nameless, f"no name for screen readers: {nameless[:3]}")
        stops = self.page.evaluate(REACHED)
        self.page.evaluate("() => { document.querySelector('#tryit').setAttribute('tabindex', -1); document.querySelector('#tryit').focus(); }")
        reached = set()
        for _ in range(len(stops) + 5):
            self.page.keyboard.press("Tab")
            reached.add(self.page.evaluate("() => document.activeElement.dataset.stop ?? null"))
        missed = [stop for i, stop in enumerate(stops) if str(i) not in reached]
        self.check(len(stops) > 15 and not missed, f"Tab does not lead to {missed[:3]}")
