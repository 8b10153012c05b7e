"""The part of browse.py that compares what the page computes with the Python library: masks, heads, map."""
import json
import re

import numpy as np
import torch
from library import composite, draw_mask, fill, first_unit, place, scene, SOUNDS
from matplotlib import colormaps
from safetensors import safe_open
from visit import Visit

from mwmae.audio import read_audio
from mwmae.patches import patchify

TOLERANCE = 1e-2  # of a standard deviation of the spectrogram; weights of attention: of their sum
RESAMPLED = 0.5  # of a standard deviation, where browser and library resample: their filters differ below 8 kHz
FIRST, ALL = (2.0, 2e6), 30e6  # seconds and bytes until the recorded example is seen; bytes of everything
LATER = "try/model.onnx", "try/ort/"  # what is loaded after the recorded example is seen
PATCH = 122  # the one that is clicked


class Reader(Visit):
    "A visit that compares numbers with those of the library."
    model = None  # set by `main`

    def near(self, found, expected, what: str, tolerance: float = TOLERANCE):
        "Two arrays are the same within a tolerance."
        found, expected = np.asarray(found, float).ravel(), np.asarray(expected, float).ravel()
        same = found.shape == expected.shape
        difference = np.abs(found - expected).max() if same else np.inf
        self.check(difference <= tolerance, f"{what} differ by {difference:.3g}, expected at most {tolerance}")

    def masked(self, seed: int, share: float):
        "Have the page draw a mask, and wait for the picture."
        self.page.evaluate("([seed, share]) => { window.tryit.setSeed(seed); return window.tryit.setShare(share); }", [seed, share])
        self.settle()

    def same_as_library(self, what: str, spectrogram: torch.Tensor):
        "Spectrogram, prediction, picture and errors are those of the library for the page's mask."
        mask = self.state("mask")
        filled = fill(self.model, spectrogram, mask)
        rebuilt = composite(self.model, spectrogram, filled.prediction, mask)
        self.near(self.state("spectrogram"), spectrogram, f"{what}: spectrograms")
        self.near(self.numbers("window.tryit.prediction()"), filled.prediction, f"{what}: predictions")
        self.near(self.state("rebuilt"), rebuilt, f"{what}: rebuilt spectrograms")
        errors = (filled.prediction - patchify(spectrogram[None], self.model.config.patch_size)[0]).square().mean(-1)
        self.near(self.state("errors"), errors, f"{what}: errors of patches", 0.1)
        return mask, rebuilt, filled

    def same_pixels(self, what: str, spectrogram: torch.Tensor, rebuilt: torch.Tensor, mask: np.ndarray):
        "The three pictures have the colours of viridis between the lowest and highest value, and gaps where it is hidden."
        low, high = spectrogram.min(), spectrogram.max()
        paint = lambda values: colormaps["viridis"](((values - low) / (high - low)).clamp(0, 1).numpy().T[::-1], bytes=True)[..., :3].astype(int)
        hidden = np.kron(mask.reshape(self.model.config.grid), np.ones(self.model.config.patch_size)).T[::-1] == 1
        for name, values in (("original", spectrogram), ("visible", spectrogram), ("rebuilt", rebuilt)):
            pixels = self.pixels(f"#tryit [data-picture={name}] canvas").astype(int)
            seen = ~hidden if name == "visible" else np.ones_like(hidden)
            self.check(np.array_equal(pixels[..., 3] == 255, seen), f"{what}: gaps of {name} are not the hidden patches")
            self.near(pixels[seen][:, :3], paint(values)[seen], f"{what}: pixels of {name}, of 255,", 8)


def first_view(reader: Reader, measured: dict):
    "The recorded example comes at once, the model after it, and the browser keeps it."
    seconds = reader.begin(where="first view")
    size = reader.sent(until=reader.shown) - sum(reader.sent(until=reader.shown, only=name) for name in LATER)  # begun meanwhile
    reader.check(seconds < FIRST[0] and size < FIRST[1], f"the example is seen after {seconds:.2f} s and {size:,} bytes")
    measured["the recorded example is seen"] = seconds, "s"
    measured["bytes until then"] = size / 1e6, "MB"
    reader.check(reader.state("source") == "guitar.ogg" or reader.state("rebuilt") is not None, "no example is shown")
    measured["the model runs"] = reader.ready(), "s"
    reader.check(reader.state("live"), f"the model does not run: {reader.text('#try-message')}")
    reader.page.locator("#try-map").scroll_into_view_if_needed()
    reader.page.wait_for_selector("#try-map .try-near button", timeout=60_000)
    size = reader.sent()
    reader.check(size < ALL, f"all of it has {size:,} bytes")
    measured["all that is loaded"] = size / 1e6, "MB"
    measured["of that the model"] = reader.sent(only="model.onnx") / 1e6, "MB"
    measured["of that the engine"] = reader.sent(only="/ort/") / 1e6, "MB"
    measured["of that the map and its sounds"] = reader.sent(only="atlas.safetensors") / 1e6, "MB"
    reader.quiet()
    reader.begin(where="second visit")
    again = reader.ready()
    reader.check(reader.state("live") and reader.sent(only="model.onnx") + reader.sent(only=".wasm") == 0, "downloads the model again")
    measured["the model runs, second visit"] = again, "s"
    reader.quiet()


def numbers(reader: Reader):
    "80 % of a sound hidden with seed 7: the page computes what the library computes."
    for name in ("speech.flac", "crow.wav"):
        reader.where = name
        reader.page.locator(f"[data-sound='{name}']").click()
        reader.page.wait_for_function("name => window.tryit.state.source === name", arg=name)
        reader.masked(7, 0.8)
        audio = read_audio(SOUNDS / name)
        own = torch.tensor(reader.state("samples"), dtype=torch.float32)
        length = min(len(own), len(audio))
        reader.check(abs(len(own) - len(audio)) <= 1, f"{len(own)} samples, the library reads {len(audio)}")
        reader.near(own[:length], audio[:length], "samples", 5e-3)
        spectrogram = first_unit(audio if name == "speech.flac" else own)
        mask, rebuilt, filled = reader.same_as_library("80 % hidden", spectrogram)
        reader.check(np.array_equal(mask, draw_mask(7, 0.8)), "the mask is not that of the library")
        reader.same_pixels("80 % hidden", spectrogram, rebuilt, mask)
        if name == "crow.wav":  # of 44.1 kHz: read by two resamplers
            reader.near(reader.state("rebuilt"), composite(reader.model, first_unit(audio), fill(reader.model, first_unit(audio), mask).prediction, mask),
                        "rebuilt spectrograms after resampling", RESAMPLED)
    reader.quiet()


def masks(reader: Reader):
    "Slider, another mask, brush with the mouse and by keyboard."
    reader.where = "masks"
    reader.masked(7, 0.8)
    spectrogram = first_unit(torch.tensor(reader.state("samples"), dtype=torch.float32))
    reader.page.locator("#try-share").fill("50")
    reader.settle()
    reader.check(np.array_equal(reader.state("mask"), draw_mask(7, 0.5)), "the slider at 50 % does not hide half")
    reader.same_as_library("slider", spectrogram)
    reader.page.locator("#try-share").press("ArrowRight")
    reader.settle()
    reader.check(np.array_equal(reader.state("mask"), draw_mask(7, 0.51)), "the arrow key does not move the slider by 1 %")
    for share in ("0", "95"):
        reader.page.locator("#try-share").fill(share)
        reader.settle()
        reader.check(reader.state("mask").sum() == {"0": 0, "95": 238}[share], f"{reader.state('mask').sum()} hidden at {share} %")
    reader.page.locator("#try-share").fill("80")
    reader.page.locator("#try-another").click()
    reader.settle()
    reader.check(np.array_equal(reader.state("mask"), draw_mask(8, 0.8)), "another mask is not that of the next seed")
    reader.same_as_library("another mask", spectrogram)

    frame = reader.page.locator("[data-picture=visible] .try-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    spot = lambda time, band: (box["x"] + (time + 0.5) / 50 * box["width"], box["y"] + (4.5 - band) / 5 * box["height"])
    for mode, hidden in (("show", 0), ("hide", 1)):
        reader.page.locator(f"#try-brush input[value={mode}]").check()
        before = reader.state("mask")
        reader.page.mouse.move(*spot(10, 2))
        reader.page.mouse.down()
        reader.page.mouse.move(*spot(19, 2), steps=4)
        reader.page.mouse.up()
        reader.settle()
        expected = before.copy()
        expected[[time * 5 + 2 for time in range(10, 20)]] = hidden
        reader.check(np.array_equal(reader.state("mask"), expected), f"the brush does not {mode} ten patches and no more")
    reader.same_as_library("brush", spectrogram)
    frame.focus()
    before = reader.state("mask")
    at = reader.state("pointed")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Space"):
        reader.page.keyboard.press(key)
    reader.settle()
    changed = np.flatnonzero(reader.state("mask") != before)
    reader.check(changed.tolist() == [at + 9], f"two to the right, one down and space change patches {changed.tolist()}, not {at + 9}")
    reader.same_as_library("keys", spectrogram)
    words = reader.text("#try-readout")
    reader.check("Hz" in words and " s" in words, f"the readout does not say where the patch is: {words}")
    reader.quiet()


def heads(reader: Reader):
    "A click on a patch shows the heads with their windows and weights, for every block, together and alone."
    reader.where = "heads"
    reader.page.locator("[data-sound='speech.flac']").click()
    reader.page.wait_for_function("() => window.tryit.state.source === 'speech.flac'")
    reader.masked(7, 0.8)
    config = reader.model.config
    filled = fill(reader.model, first_unit(read_audio(SOUNDS / "speech.flac")), draw_mask(7, 0.8))
    reader.check(reader.state("windows") == config.decoder_windows, f"windows are {reader.state('windows')}")
    frame = reader.page.locator("[data-picture=rebuilt] .try-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    time, band = divmod(PATCH, 5)
    reader.page.mouse.click(box["x"] + (time + 0.5) / 50 * box["width"], box["y"] + (4.5 - band) / 5 * box["height"])
    reader.page.wait_for_selector("#try-panel:visible")
    reader.settle()
    reader.check(reader.state("patch") == PATCH, f"a click on patch {PATCH} chooses {reader.state('patch')}")
    cards = reader.page.locator("#try-heads .try-head")
    reader.check(cards.count() == len(config.decoder_windows), f"{cards.count()} heads are shown")
    for block in reversed(range(config.decoder_depth)):
        choose_block(reader, block)
        weights = filled.attention[block][:, PATCH]  # (heads, n)
        found = reader.state("attention").reshape(len(weights), 250, 250)
        reader.near(found, filled.attention[block], f"weights of block {block + 1}")
        shares = [int(part) for card in range(cards.count()) for part in re.findall(r"\((\d+) ?.?%\)", cards.nth(card).inner_text())]
        reader.near(shares, 100 * weights.amax(1).numpy(), f"largest weights on the cards of block {block + 1}, in per cent,", 1.01)
    colours = reader.page.evaluate("() => [...document.querySelectorAll('.try-head')].map(e => e.style.getPropertyValue('--head'))")
    reader.check(len(set(colours)) == cards.count(), f"colours of heads are not all different: {colours}")
    outlines = reader.page.locator("[data-picture=rebuilt] .windows path[stroke]").count()
    reader.check(outlines == cards.count(), f"{outlines} windows are outlined")
    cards.nth(2).click()
    reader.page.wait_for_selector("#try-alone:visible")
    reader.check(reader.state("head") == 2, "a click on a head does not show it alone")
    window = config.decoder_windows[2]
    alone = reader.pixels("#try-alone canvas:nth-of-type(2)")[..., 3]  # (5, 50) opacity
    inside = np.flatnonzero(alone[::-1].T.ravel())
    first = PATCH // window * window
    reader.check(len(inside) and inside.min() >= first and inside.max() < first + window, "weights of head 3 lie outside its window")
    strongest = int(alone[::-1].T.ravel().argmax())
    reader.check(strongest == int(filled.attention[0][2, PATCH].argmax()), "the brightest patch is not that of the largest weight")
    outlines = reader.page.locator("[data-picture=rebuilt] .windows path[stroke]").count()
    reader.check(outlines == 1, f"{outlines} windows are outlined for one head")
    reader.page.locator("#try-all-heads").click()
    reader.check(reader.state("head") is None and not reader.page.locator("#try-alone").is_visible(), "all heads do not come back")
    frame.focus()
    reader.page.keyboard.press("ArrowLeft")
    at = reader.state("pointed")
    reader.page.keyboard.press("Enter")
    reader.check(reader.state("patch") == at != PATCH, f"Enter on patch {at} shows the heads of patch {reader.state('patch')}")
    reader.quiet()


def choose_block(reader: Reader, block: int):
    "Have the page show a block of the decoder."
    reader.page.locator(f"#try-block input[value='{block}']").check()
    reader.settle()
    reader.check(reader.state("block") == block, f"block {block + 1} is not chosen")


def sound_map(reader: Reader):
    "The place on the map and the neighbours are those of the library, and can be heard."
    reader.where = "map"
    reader.page.locator("#try-map").scroll_into_view_if_needed()
    reader.page.wait_for_selector("#try-map .try-near button")
    for name in ("tabla.ogg", "speech.flac"):
        before = reader.page.locator(".try-near").inner_text()
        reader.page.locator(f"[data-sound='{name}']").click()
        reader.page.wait_for_function("before => document.querySelector('.try-near').innerText !== before", arg=before)
    reader.settle()
    atlas = reader.site / "try" / "atlas.safetensors"
    where, nearest, similar = place(scene(reader.model, first_unit(read_audio(SOUNDS / "speech.flac"))), atlas)
    moved = reader.page.locator(".try-here").get_attribute("transform")
    found = np.array([float(part) for part in re.findall(r"-?[\d.]+", moved)]) / (1.4, 0.9)  # units of the picture
    reader.near(found, where, "places on the map, from 0 to 100,", 0.5)
    shown = [float(part) for part in re.findall(r"(\d\.\d\d)\s*$", reader.page.locator(".try-near").inner_text(), re.MULTILINE)]
    reader.near(shown, similar[: len(shown)], "similarities of the neighbours", 0.011)
    with safe_open(atlas, "np") as file:
        labels, notes = (json.loads(file.metadata()[name]) for name in ("labels", "notes"))
    buttons = reader.page.locator(".try-near button")
    for button, index in zip(buttons.all(), nearest):
        words = button.inner_text()
        title = button.get_attribute("title")
        reader.check(labels[index] in words and title == f"MIDI note {notes[index]}", f"neighbour is {words!r}, {title}, not {labels[index]}, {notes[index]}")
    reader.check(buttons.count() >= 3, f"{buttons.count()} neighbours")
    for what in (buttons.first, reader.page.locator("#try-map svg > path[fill]").nth(1)):
        heard = reader.heard(lambda: what.dispatch_event("click"))
        reader.check(heard["peak"] > 0.01 and heard["seconds"] > 0.3, f"a sound of the map is not heard: {heard}")
    reader.quiet()
