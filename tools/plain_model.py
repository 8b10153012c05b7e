"""The loss of a masked autoencoder once more, as plainly as the formulas stand in the chapters.

It takes one clip, one block and one head after the other, in float64, and shares no code with the library, so a mistake
would have to be made twice. It knows every part that the library has by name. Two things are read and not made again:
the tables of positions, and which patches the masks leave; the chapters on both check them.
"""
import math

import torch


def plain_linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def plain_norm(p, name, x):
    "Layer norm, or RMS norm where there is no bias."
    if f"{name}.bias" in p:
        x = x - x.mean(1, keepdim=True)
    x = x / ((x**2).mean(1, keepdim=True) + 1e-6) ** 0.5 * p[f"{name}.weight"]
    return x + p.get(f"{name}.bias", 0)


def standardised(x, dim, epsilon):
    "Mean 0 and variance 1 along a dimension."
    x = x - x.mean(dim, keepdim=True)
    return x / ((x**2).mean(dim, keepdim=True) + epsilon) ** 0.5


def plain_network(p, name, x):
    "SwiGLU, or two layers with GELU between them."
    if f"{name}.widen.weight" in p:
        gate, values = plain_linear(p, f"{name}.widen", x).chunk(2, dim=1)
        return plain_linear(p, f"{name}.narrow", gate / (1 + torch.exp(-gate)) * values)
    x = plain_linear(p, f"{name}.0", x)
    x = x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return plain_linear(p, f"{name}.2", x)


# --- which patch sees which


def tile(window, grid):
    "The most nearly square rectangle of so many patches that tiles the grid."
    fit = [(max(t, window // t), t, window // t) for t in range(1, window + 1)
           if window % t == 0 and grid[0] % t == 0 and grid[1] % (window // t) == 0]
    return min(fit)[1:]


def one_sees(pattern, window, grid, odd, i, j):
    "Does patch i see patch j?"
    n, rows = grid[0] * grid[1], grid[1]
    if pattern == "windows":
        return i // window == j // window
    if pattern == "shifted":
        shift = window // 2 if odd else 0
        return (i - shift) // window == (j - shift) // window
    if pattern == "sliding":
        return abs(i - j) <= window // 2
    if pattern == "dilated":
        return i % (n // window) == j % (n // window)
    if pattern == "tiles":
        t, f = tile(window, grid)
        return (i // rows // t, i % rows // f) == (j // rows // t, j % rows // f)
    raise KeyError(pattern)


def table(pattern, window, grid, odd):
    "Who sees whom in a head, (n, n)."
    n = grid[0] * grid[1]
    if window == n:
        return torch.ones(n, n, dtype=torch.bool)
    return torch.tensor([[one_sees(pattern, window, grid, odd, i, j) for j in range(n)] for i in range(n)])


# --- attention and blocks


def turn(x, numbers, rows, extra):
    """Rotary positions of one head (m, d): a pair of channels is turned by time, the next one by frequency.

    The angles are in float32, as those of the library.
    """
    x, half = x.clone(), x.shape[1] // 2
    turned = x.clone()
    for token, number in enumerate(numbers.tolist(), start=extra):
        for pair in range(half):
            place = number % rows if pair % 2 else number // rows
            angle = place * 100.0 ** torch.tensor(-pair / half)
            a, b = x[token, pair], x[token, half + pair]
            turned[token, pair] = a * angle.cos() - b * angle.sin()
            turned[token, half + pair] = a * angle.sin() + b * angle.cos()
    return turned


def plain_attention(p, name, x, tables, numbers, config, scales):
    "Each head looks where its table allows; tokens of no patch see and are seen by all."
    extra, mixed, biased = config.extra, [], 0
    d = p[f"{name}.proj.weight"].shape[1] // len(tables)
    for head, (q, k, v) in enumerate(zip(*(part.split(d, dim=1) for part in plain_linear(p, f"{name}.qkv", x).chunk(3, dim=1)))):
        if scales is not None:
            q, k = (part / ((part**2).mean(1, keepdim=True) + 1e-6) ** 0.5 for part in (q, k))
            q = q * scales[head]
        if config.positions == "rotary":
            q, k = (turn(part, numbers, config.grid[1], extra) for part in (q, k))
        scores = q @ k.T / math.sqrt(d)
        if tables[head] is not None and f"{name}.rel_pos.0" in p and not tables[head].all():
            distances = sorted({abs(i - j) for i, j in tables[head].nonzero().tolist()})
            bias = p[f"{name}.rel_pos.{biased}"]
            biased += 1
            for row, i in enumerate(numbers.tolist(), start=extra):
                for column, j in enumerate(numbers.tolist(), start=extra):
                    if tables[head][i, j]:
                        steps = distances.index(abs(i - j))
                        scores[row, column] = scores[row, column] + bias[len(distances) - 1 + (steps if i > j else -steps)]
        if tables[head] is not None:
            seen = torch.ones(len(x), len(x), dtype=torch.bool)
            seen[extra:, extra:] = tables[head][numbers][:, numbers]
            scores = scores.masked_fill(~seen, -math.inf)
        weights = torch.exp(scores - scores.max(1, keepdim=True).values)
        mixed.append(weights / weights.sum(1, keepdim=True) @ v)
    return plain_linear(p, f"{name}.proj", torch.cat(mixed, dim=1))


def plain_block(p, name, x, *attention):
    "Attention and an inner network, or a macaron of two halves with attention between them."
    end = lambda x, branch: x * p.get(f"{name}.end{branch}.0.scale", 1)
    half = 0.5 if f"{name}.norm0.weight" in p else 1
    if half == 0.5:
        x = x + end(half * plain_network(p, f"{name}.mlp0", plain_norm(p, f"{name}.norm0", x)), 0)
    scales = p.get(f"{name}.qk_norm.scale")
    x = x + end(plain_attention(p, f"{name}.attention", plain_norm(p, f"{name}.norm1", x), *attention, scales), 1)
    return x + end(half * plain_network(p, f"{name}.mlp", plain_norm(p, f"{name}.norm2", x)), 2)


def head_tables(config, part, block):
    "For each head who sees whom, None where all see all."
    if config.attention_of(part) == "plain":
        heads = config.encoder_heads if part == "encoder" else config.decoder_heads or len(config.decoder_windows)
        return heads * [None]
    windows = config.decoder_windows
    if part == "encoder":
        last = len(windows) - 1
        windows = [windows[round(last * head / (config.encoder_heads - 1))] for head in range(config.encoder_heads)]
    return [table(config.pattern, window, config.grid, block % 2 == 1) for window in windows]


# --- the whole


def plain_encoder(p, part, config, patches, visible):
    "Output of every block of an encoder, for the visible patches."
    kernel = p[f"{part}.patch_embed.proj.weight"].flatten(1)
    x = patches[visible] @ kernel.T + p[f"{part}.patch_embed.proj.bias"]
    x = x + p[f"{part}.positions"][config.extra :][visible]
    before = [p[f"{part}.{name}"][0] for name in ("cls_token", "registers") if f"{part}.{name}" in p]
    if before:
        x = torch.cat([torch.cat(before) + p[f"{part}.positions"][: config.extra], x])
    outputs = []
    for block in range(config.encoder_depth):
        tables = head_tables(config, "encoder", block)
        x = plain_block(p, f"{part}.blocks.{block}", x, tables, visible, config)
        outputs.append(x)
    return outputs


def plain_target(p, config, patches):
    "What is to be predicted for each patch."
    if config.target == "teacher":
        outputs = plain_encoder(p, "teacher.encoder", config, patches, torch.arange(len(patches)))
        total = sum(standardised(x[config.extra :], 0, 1e-5) for x in outputs)
        return standardised(total / len(outputs), 1, 1e-5)
    wanted = config.target == "standardised" or config.norm_pix_loss
    return standardised(patches, 1, 1e-6) if wanted else patches


def plain_loss(p, config, spectrogram, visible):
    "Loss of one clip (frames, mels) with parameters by name and the numbers of its visible patches (k,)."
    (pt, pf), (steps, rows), extra = config.patch_size, config.grid, config.extra
    patches = torch.stack([spectrogram[t * pt : (t + 1) * pt, f * pf : (f + 1) * pf].flatten() for t in range(steps) for f in range(rows)])
    seen = plain_norm(p, "encoder.norm", plain_encoder(p, "encoder", config, patches, visible)[-1])
    tokens = plain_linear(p, "decoder.embed", seen)
    rest = [p["decoder.mask_token"][0, 0]] * len(patches)
    for token, number in enumerate(visible.tolist(), start=extra):
        rest[number] = tokens[token]
    x = torch.cat([tokens[:extra], torch.stack(rest)]) + p["decoder.positions"]
    for block in range(config.decoder_depth):
        tables = head_tables(config, "decoder", block)
        x = plain_block(p, f"decoder.blocks.{block}", x, tables, torch.arange(len(patches)), config)
    prediction = plain_linear(p, "decoder.predict", plain_norm(p, "decoder.norm", x)[extra:])
    hidden = sorted(set(range(len(patches))) - set(visible.tolist()))
    target = plain_target(p, config, patches).detach()
    loss = ((prediction - target)[hidden] ** 2).mean()
    if config.utterance_loss:
        mean = standardised(target.mean(0, keepdim=True), 1, 1e-5)[0]
        loss = loss + config.utterance_loss * ((seen[0] - mean) ** 2).mean()
    return loss
