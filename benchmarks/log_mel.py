"""Log-mel spectrograms of 1,000 clips of 2 s: ours, in batches and clip by clip, beside librosa and kaldi-native-fbank.

    pip install librosa kaldi-native-fbank
    python benchmarks/log_mel.py

All compute 80 mel bands from 50 to 8000 Hz of 25 ms Hann windows every 10 ms, and their logarithm; the three define the
edges of a clip and the scale of mel differently, so their values are alike and not equal. The forms take turns in one
process, each on arrays in memory; kaldi-native-fbank takes one clip at a time and hands out its frames one by one. Every
number is the median over the turns; the table goes to benchmarks/results/log_mel.csv.
"""
import statistics
from pathlib import Path

import kaldi_native_fbank
import librosa
import numpy as np
import pandas as pd
import torch
from fastcore.script import call_parse

from machine import CLOCKS, facts
from mwmae.audio import LogMelSpectrogram, SAMPLE_RATE


def kaldi_options():
    "Options of kaldi-native-fbank that are nearest to the paper's front end."
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither = SAMPLE_RATE, 0.0
    options.frame_opts.preemph_coeff, options.frame_opts.remove_dc_offset = 0.0, False
    options.frame_opts.window_type, options.frame_opts.snip_edges = "hanning", False
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = 80, 50.0, 8000.0
    return options


def by_kaldi(clip, options):
    "Log-mel spectrogram of a clip by kaldi-native-fbank, (frames, mels)."
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, clip)
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def by_librosa(clips):
    "Log-mel spectrograms by librosa, (clips, frames, mels)."
    power = librosa.feature.melspectrogram(
        y=clips, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80, fmin=50.0, fmax=8000.0, htk=True, norm=None, pad_mode="reflect")
    return np.log(power + np.finfo(np.float32).eps).swapaxes(-1, -2)


@call_parse
def main(
    clips: int = 1000,  # Clips of 2 s
    batch: int = 64,  # Clips in a batch
    turns: int = 7,  # How often each form is timed
    threads: int = 2,  # Threads of PyTorch; librosa and kaldi-native-fbank use one
    clock: str = "wall",  # 'wall', or 'cpu' for the time of the processor
):
    "Print a table, and write it to benchmarks/results/log_mel.csv."
    columns, options = facts(clock, threads), kaldi_options()
    generator = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(clips, 2 * SAMPLE_RATE, generator=generator)
    array, log_mel = audio.numpy(), LogMelSpectrogram()
    forms = {
        "ours, batches": lambda: [log_mel(part) for part in audio.split(batch)],
        "ours, one by one": lambda: [log_mel(clip) for clip in audio],
        "librosa, batches": lambda: [by_librosa(array[i : i + batch]) for i in range(0, clips, batch)],
        "librosa, one by one": lambda: [by_librosa(clip) for clip in array],
        "kaldi-native-fbank": lambda: [by_kaldi(clip, options) for clip in array],
    }
    seconds = {name: [] for name in forms}
    with torch.inference_mode():
        reference = log_mel(audio[:1])[0].numpy()
        apart = {"librosa, batches": by_librosa(array[:1])[0], "kaldi-native-fbank": by_kaldi(array[0], options)}
        for _ in range(turns + 1):  # the first turn warms up
            for name, form in forms.items():
                begin = CLOCKS[clock]()
                form()
                seconds[name].append(CLOCKS[clock]() - begin)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    rows = [{"form": name, "clips": clips, "clips per second": clips / time, "ours in batches is faster by": time / median["ours, batches"],
             "median distance": float(np.median(np.abs(apart[name][:200] - reference[:200]))) if name in apart else None, **columns}
            for name, time in median.items()]
    table = pd.DataFrame(rows).round(3)
    print(table.iloc[:, :5].to_string(index=False))
    table.to_csv(Path(__file__).parent / "results" / "log_mel.csv", index=False)
