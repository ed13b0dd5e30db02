"""The three pretrained networks in NumPy, in float64, from the arrays of the published files."""

import numpy as np
from scipy.special import erf, expit


def edge_network(w, images):
    """Logits of an edge, (n, height, width, 1), for (n, height, width, 3) photographs."""
    x, sides = images.astype(np.float64), []
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        if block > 1:
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
        for i in range(depth):
            place = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
            windows = np.lib.stride_tricks.sliding_window_view(
                np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2)
            )
            x = np.maximum(
                np.tensordot(windows, w[f"{place}/0"], ((4, 5, 3), (0, 1, 2))) + w[f"{place}/1"], 0
            )
        side = x @ w[f"dsn{block}/vars/0"][0, 0] + w[f"dsn{block}/vars/1"]
        sides.append(enlarged(enlarged(side, 2 ** (block - 1), 1), 2 ** (block - 1), 2))
    return np.concatenate(sides, axis=-1) @ w["fuse/vars/0"][0, 0] + w["fuse/vars/1"]


def enlarged(x, factor, axis):
    """Linear interpolation between the centers of pixels, along one axis."""
    size = x.shape[axis]
    at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    low = np.floor(at).astype(int)
    part = np.expand_dims(at - low, [k for k in range(x.ndim) if k != axis])
    return x.take(low, axis) * (1 - part) + x.take(np.minimum(low + 1, size - 1), axis) * part


def voice_detector(w, frames):
    """Logits of speech, (n, frames, 1), for (n, frames, 640, 1) frames."""
    found = []
    for recording in frames[..., 0].astype(np.float64):
        h = c = np.zeros(w["lstm_cell.weight_hh"].shape[1])
        for frame in recording:
            parts = np.stack([frame[i : i + 256] for i in range(0, len(frame) - 255, 128)])
            waves = parts @ w["stft_conv.weight"][:, 0].T
            x = np.hypot(*np.split(waves, 2, axis=1))
            for i, stride in enumerate((1, 2, 2, 1), start=1):
                padded = np.pad(x, ((1, 1), (0, 0)))
                rows = [padded[t : t + 3] for t in range(0, len(x), stride)]
                x = np.tensordot(np.stack(rows), w[f"conv{i}.weight"], ((1, 2), (2, 1)))
                x = np.maximum(x + w[f"conv{i}.bias"], 0)
            assert len(x) == 1
            gates = w["lstm_cell.weight_ih"] @ x[0] + w["lstm_cell.weight_hh"] @ h
            i, f, g, o = np.split(gates + w["lstm_cell.bias_ih"] + w["lstm_cell.bias_hh"], 4)
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
            found.append(np.maximum(h, 0) @ w["final_conv.weight"][0, :, 0] + w["final_conv.bias"])
    return np.reshape(found, (*frames.shape[:2], 1))


def text_encoder(w, pieces):
    """Embeddings, (n, width), of (n, length) word pieces."""
    w = {name: value.astype(np.float64) for name, value in w.items()}

    def norm(place, x):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)
        return x * w[f"{place}.LayerNorm.weight"] + w[f"{place}.LayerNorm.bias"]

    def dense(place, x):
        return x @ w[f"{place}.weight"].T + w[f"{place}.bias"]

    n, length = pieces.shape
    x = w["embeddings.word_embeddings.weight"][pieces] + w["embeddings.position_embeddings.weight"][:length]
    x = norm("embeddings", x + w["embeddings.token_type_embeddings.weight"][0])
    for i in range(len([name for name in w if name.endswith("intermediate.dense.bias")])):
        place = f"encoder.layer.{i}"
        parts = [dense(f"{place}.attention.self.{part}", x) for part in ("query", "key", "value")]
        q, k, v = (part.reshape(n, length, -1, 32).swapaxes(1, 2) for part in parts)
        scores = q @ k.swapaxes(2, 3) / np.sqrt(32)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (weights / weights.sum(axis=-1, keepdims=True)) @ v
        attended = attended.swapaxes(1, 2).reshape(n, length, -1)
        x = norm(f"{place}.attention.output", x + dense(f"{place}.attention.output.dense", attended))
        wide = dense(f"{place}.intermediate.dense", x)
        wide = wide * (1 + erf(wide / np.sqrt(2))) / 2
        x = norm(f"{place}.output", x + dense(f"{place}.output.dense", wide))
    x = x.mean(axis=1)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
