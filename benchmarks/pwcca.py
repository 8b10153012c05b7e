"""Time of PWCCA between all pairs of heads, beside factoring both heads anew for every pair.

The heads are those of ViT-Base's encoder by default: 144 of 64 channels, over 10,000 tokens of random numbers that
share some directions. The naive way takes a few pairs, drawn at random, in the same run; its time per pair stands for
all of them. Both must agree on those pairs. The ratio is one of processor time, which counts every thread and does not
depend on what else the machine does.
"""
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastcore.script import call_parse

from mwmae.similarity import compare_heads


def naive_pwcca(
    x: np.ndarray,  # (tokens, d) output of a head
    y: np.ndarray,  # (tokens, d) output of another
) -> tuple:  # PWCCA of x in y and of y in x
    "PWCCA of one pair in float64 by QR and SVD, both heads factored here."
    x, y = (z.astype(np.float64) - z.mean(0, dtype=np.float64) for z in (x, y))
    basis_x, basis_y = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    u, rho, v = np.linalg.svd(basis_x.T @ basis_y)
    weights = [np.abs((basis_x @ u).T @ x).sum(1), np.abs((basis_y @ v.T).T @ y).sum(1)]
    return tuple((w * rho).sum() / w.sum() for w in weights)


@call_parse
def main(
    heads: int = 144,  # number of heads
    tokens: int = 10_000,  # rows of each head's output
    channels: int = 64,  # channels of each head
    naive: int = 40,  # pairs that the naive way computes
):
    "Print a table, and write it to benchmarks/results/pwcca.csv."
    torch.manual_seed(0)
    features = torch.randn(heads, tokens, channels)
    features += torch.randn(tokens, channels) @ torch.randn(heads, channels, channels) / channels**0.5
    begin, cpu = time.perf_counter(), time.process_time()
    found = compare_heads(features).pwcca
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    pairs = heads * (heads - 1) // 2
    drawn = [np.random.default_rng(i).choice(heads, 2, replace=False) for i in range(naive)]
    begin = time.process_time()
    expected = [naive_pwcca(features[i].numpy(), features[j].numpy()) for i, j in drawn]
    each = (time.process_time() - begin) / naive
    differ = max(abs(found[i, j] - a).item() + abs(found[j, i] - b).item() for (i, j), (a, b) in zip(drawn, expected))
    assert differ < 1e-8, f"the two ways differ by {differ:.1e}"
    row = {"heads": heads, "channels": channels, "tokens": tokens, "pairs": pairs, "seconds": seconds, "cpu seconds": cpu,
           "naive pairs measured": naive, "naive cpu seconds per pair": each, "naive cpu seconds for all": each * pairs,
           "ratio": each * pairs / cpu, "threads": torch.get_num_threads(), "torch": torch.__version__,
           "machine": platform.machine(), "date": datetime.date.today().isoformat()}
    table = pd.DataFrame([row])
    print(table.T.to_string(header=False))
    table.round(4).to_csv(Path(__file__).parent / "results" / "pwcca.csv", index=False)
