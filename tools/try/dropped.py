"""The files that browse.py drops on the page: good sounds, odd ones, and what is no sound."""
import io
import wave

import numpy as np


def wav(
    samples: np.ndarray,  # (samples,) or (samples, channels) between -1 and 1
    rate: int,  # Hz
) -> bytes:  # a WAV file of 16 bits
    "Write sound as WAV."
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((samples * 32767).round().astype("<i2").tobytes())
    return file.getvalue()


def chirp(
    seconds: float,  # length
    rate: int,  # Hz
) -> np.ndarray:  # (samples,)
    "A tone that rises from 300 Hz, louder and softer twice a second, with a little noise."
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (300 * time + 200 * (time % 10) ** 2)) * (0.6 + 0.4 * np.sin(4 * np.pi * time))
    return 0.5 * tone + 0.01 * np.random.default_rng(0).standard_normal(len(time))


def files() -> dict[str, bytes]:  # by name
    "All of them; the sound of half an hour has 58 MB."
    wide = chirp(2.5, 96_000)
    hour = np.tile(chirp(10, 16_000), 180)
    return {
        "chirp.wav": wav(chirp(2.5, 16_000), 16_000),
        "stereo.wav": wav(np.stack([wide, 0.5 * wide[::-1]], axis=1), 96_000),
        "short.wav": wav(chirp(0.3, 16_000), 16_000),
        "half_an_hour.wav": wav(hour, 16_000),
        "silent.wav": wav(np.zeros(32_000), 16_000),
        "notes.txt": b"These are words, and no sound.\n" * 20,
        "empty.wav": b"",
    }
