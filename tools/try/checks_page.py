"""The part of browse.py that does what readers do: play, take the tour, drop files, visit with a phone or an old browser."""
import time

import numpy as np
import torch
from checks_model import Reader
from dropped import chirp
from library import first_unit

from browse_site import DESKTOP, PHONE

NO_WASM = "delete globalThis.WebAssembly;"


def sounds(reader: Reader, measured: dict):
    "All three pictures can be heard; what is hidden is silent, and what is rebuilt has a sound."
    reader.where = "sounds"
    reader.page.locator("[data-sound='guitar.ogg']").click()
    reader.page.wait_for_function("() => window.tryit.state.source === 'guitar.ogg'")
    reader.masked(7, 0.8)
    for name in ("original", "visible", "rebuilt"):
        button = reader.page.locator(f"[data-play={name}]")
        begin = time.monotonic()
        heard = reader.heard(button.click)
        if name == "rebuilt":
            measured["the sound of a rebuilt spectrogram"] = time.monotonic() - begin, "s"
        reader.check(heard["finite"] and 0.003 < heard["peak"] <= 1.5, f"{name}: {heard}")
        reader.check(abs(heard["seconds"] - 2) < 0.05, f"{name} takes {heard['seconds']:.2f} s")
        reader.check(button.inner_text() == "Stop", f"the button of {name} says {button.inner_text()} while it plays")
        button.click()
        reader.check(button.inner_text() == "Play" and reader.state("playing") is None, f"{name} does not stop")
    reader.quiet()


def tour(reader: Reader):
    "Six steps: each shows its part of the page and leads to chapters; by buttons and by keys."
    reader.where = "tour"
    reader.page.locator("#try-tour").click()
    card = reader.page.locator("#try-card")
    titles = []
    for step in range(6):
        reader.page.wait_for_function("words => document.querySelector('.try-step').textContent === words", arg=f"Step {step + 1} of 6")
        reader.settle()
        reader.page.wait_for_timeout(100)
        titles.append(reader.text("#try-card h2"))
        lit = reader.page.evaluate("""() => { const all = [...document.querySelectorAll(".try-lit")];
            const box = all[0]?.getBoundingClientRect();
            const above = document.querySelector("header").getBoundingClientRect().bottom;
            const card = document.querySelector("#try-card").getBoundingClientRect();
            const clear = box && box.top >= above && box.bottom <= innerHeight && (box.bottom <= card.top || box.right <= card.left);
            return {count: all.length, seen: clear && box.width > 0}; }""")
        reader.check(lit["count"] == 1 and lit["seen"], f"step {step + 1} does not show its part of the page, clear of the card: {lit}")
        reader.check(reader.page.evaluate("() => document.activeElement.closest('#try-card') !== null"), f"the focus is not in step {step + 1}")
        links = reader.page.eval_on_selector_all("#try-card .try-links a", "all => all.map(a => a.href)")
        files = [link.removeprefix(reader.address).split("#")[0] for link in links]
        reader.check(files and all((reader.site / file).is_file() for file in files), f"step {step + 1} leads to {links}")
        if step < 5:
            (reader.page.keyboard.press("ArrowRight") if step % 2 else reader.page.locator("[data-go=next]").click())
    reader.check(len(set(titles)) == 6, f"titles are {titles}")
    reader.page.keyboard.press("ArrowLeft")
    reader.check(reader.text(".try-step") == "Step 5 of 6", "the left arrow does not go back")
    reader.page.keyboard.press("Escape")
    reader.check(not card.is_visible(), "Escape does not close the tour")
    reader.check(reader.page.evaluate("() => document.activeElement.id") == "try-tour", "the focus does not come back to the button of the tour")
    reader.quiet()


def good_file(reader: Reader, name: str, seconds: float):
    "A sound that the page takes: the model runs on it, and computes what the library computes from its samples."
    reader.where = name
    words = reader.drop(name)
    reader.settle()
    reader.check(name in words and not reader.page.locator("#try-message.wrong").count(), f"says {words}")
    samples = torch.tensor(reader.state("clip"), dtype=torch.float32)
    length = len(reader.state("samples")) / 16_000 if seconds < 60 else reader.page.evaluate("() => window.tryit.state.samples.length") / 16_000
    reader.check(abs(length - seconds) < 0.01, f"{length:.2f} s of it, expected {seconds}")
    reader.same_as_library(name, first_unit(samples))
    return samples.numpy()


def dropped(reader: Reader):
    "Sounds of every kind work; what is no sound gets a sentence, and the page stays as it was."
    reader.masked(7, 0.8)
    found = good_file(reader, "chirp.wav", 2.5)
    reader.near(found, chirp(2.5, 16_000)[:32_000], "samples", 1e-4)
    found = good_file(reader, "stereo.wav", 2.5)
    reader.check(0.05 < np.abs(found).max() < 1, f"the loudest of two channels at 96 kHz is {np.abs(found).max():.2f}")
    good_file(reader, "short.wav", 0.3)
    begin = time.monotonic()
    good_file(reader, "half_an_hour.wav", 1800)
    reader.check(time.monotonic() - begin < 30, f"took {time.monotonic() - begin:.0f} s")
    reader.page.locator("#try-begin").fill("1000")
    reader.settle()
    reader.check(abs(reader.state("begin") - 16_000_000) < 200, f"the slider goes to sample {reader.state('begin')}")
    reader.same_as_library("half an hour, at 1000 s", first_unit(torch.tensor(reader.state("clip"), dtype=torch.float32)))
    before = reader.state("spectrogram")
    for name, kind, reason in (("silent.wav", "audio/wav", "silent"), ("notes.txt", "text/plain", "no sound"), ("empty.wav", "audio/wav", "empty")):
        reader.where = name
        words = reader.drop(name, kind)
        reader.settle()
        reader.check(name in words and reason in words and words.strip().endswith("."), f"says {words}")
        reader.check(reader.page.locator("#try-message.wrong").count() == 1, "does not look like a problem")
        reader.check(np.array_equal(before, reader.state("spectrogram")), "changes the picture")
    reader.where = "chosen file"
    reader.page.locator("#try-file").set_input_files([{"name": "chirp.wav", "mimeType": "audio/wav", "buffer": reader.server.extra["chirp.wav"]}])
    reader.page.wait_for_function("() => document.querySelector('#try-message').textContent.startsWith('chirp.wav')")
    reader.settle()
    reader.check(not reader.page.locator("#try-message.wrong").count(), "is not taken")
    reader.where = "recording"
    reader.page.locator("#try-record").click()
    reader.page.wait_for_function("() => document.querySelector('#try-message').textContent.startsWith('Your recording')", timeout=10_000)
    reader.settle()
    reader.check(abs(len(reader.state("samples")) / 16_000 - 2) < 0.05, f"has {len(reader.state('samples'))} samples")
    reader.quiet()


def without_model(reader: Reader, reason: str, *expected: str):
    "Where the model cannot run, the page says so and plays the recorded example."
    reader.begin(where=f"without the model: {reason}")
    reader.ready()
    words = reader.text("#try-message")
    reader.check(not reader.state("live") and "recorded example" in words and words.strip().endswith("."), f"says {words}")
    reader.check(reader.pixels("#tryit [data-picture=rebuilt] canvas")[..., 3].all(), "shows no example")
    before = reader.state("mask")
    reader.page.locator("#try-another").click()
    reader.check(not np.array_equal(before, reader.state("mask")), "another mask shows no other frame of the example")
    heard = reader.heard(reader.page.locator("[data-play=original]").click)
    reader.check(heard["peak"] > 0.01, f"the example is not heard: {heard}")
    reader.no_wider("without the model")
    reader.quiet(*expected)


def sizes(reader: Reader):
    "Nothing is wider than the window, in light and dark, with everything open; every control has a name and is reached by Tab."
    reader.where = "sizes"
    reader.page.locator("[data-picture=rebuilt] .try-frame").focus()
    reader.page.keyboard.press("Enter")
    reader.page.locator("#try-heads .try-head").first.click()
    reader.keyboard()
    for scheme in ("light", "dark"):
        reader.page.emulate_media(color_scheme=scheme)
        for size in (DESKTOP, PHONE):
            reader.page.set_viewport_size(size)
            reader.no_wider(scheme)
        reader.page.wait_for_timeout(500)  # the sidebar has gone
        beside = reader.page.evaluate("""() => { const marks = [...document.querySelectorAll(".try-plane > svg > path[fill]")];
            const left = marks.reduce((a, b) => a.getBoundingClientRect().left < b.getBoundingClientRect().left ? a : b);
            left.scrollIntoView({block: "center", behavior: "instant"});
            const box = left.getBoundingClientRect();
            return [box.left - 5, box.top + box.height / 2]; }""")
        heard = reader.heard(lambda: reader.page.mouse.click(*beside))
        reader.check(heard["peak"] > 0.01, f"a tap beside a mark is not heard: {heard}")
        reader.page.locator("#try-tour").click()
        reader.no_wider(f"{scheme}, in the tour")
        reader.page.keyboard.press("Escape")
        ground = reader.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        dark = sum(map(float, ground[ground.index("(") + 1:-1].split(",")[:3])) < 384
        reader.check(dark == (scheme == "dark"), f"the page is {ground} in {scheme}")
    reader.page.set_viewport_size(DESKTOP)
    reader.page.emulate_media(color_scheme="light")
    reader.quiet()


def front(reader: Reader):
    "The picture of the front page plays the recorded example; nothing of it, nor the model, is loaded before."
    reader.sent_before = len(reader.server.sent)
    reader.open("index.html")
    reader.where = "front page"
    button = reader.page.locator("#try-front button")
    reader.check(reader.page.locator("main img").first.is_visible() and button.is_visible(), "no picture, or no button that plays it")
    reader.check(reader.sent(only="try/model") + reader.sent(only="example") == 0, "loads the example before it is asked for")
    heard = reader.heard(button.click)
    reader.check(abs(heard["seconds"] - 2) < 0.05 and heard["peak"] > 0.01, f"the example is not heard: {heard}")
    words = reader.text("#try-front output")
    rebuilt = ".try-front-picture canvas:nth-of-type(3)"
    first = reader.pixels(rebuilt)
    reader.check(words == "80 % hidden" and first[..., 3].all(), f"the first frame is not drawn, or hides another share: {words}")
    reader.page.wait_for_function("words => document.querySelector('#try-front output').textContent !== words", arg=words)
    reader.check((reader.pixels(rebuilt) != first).any(), "the second frame is not drawn")
    button.click()
    reader.check(button.inner_text() == "Play the example" and np.array_equal(reader.pixels(rebuilt), first), "it does not stop at the first frame")
    reader.check(reader.sent(only="try/model") == 0, "loads the model")
    reader.check(reader.page.locator("#try-front a").get_attribute("href") == "try.html", "no link to the page")
    reader.no_wider("front page")
    reader.page.set_viewport_size(PHONE)
    reader.no_wider("front page")
    reader.page.set_viewport_size(DESKTOP)
    reader.quiet()
