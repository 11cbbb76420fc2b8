"""The networks, all Keras functional models of Keras' own layers and the BidirectionalLSTM of recurrent.py.

Notebook 05_train trains them, 07_claims compares them. A direct network turns the codification's normalized
spectrogram into the piano's. A mask network says by what the tone and the impulse channel are multiplied, bin by
bin: prediction = mask_tone x tone + mask_impulse x impulse. Complex numbers are real pairs (..., 2).

Each network is a function (layers, units, bins) -> keras.Model, listed in catalogue.ARCHITECTURES.
"""

import math
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import layers as nn
from keras import ops

from nnss_utils import features
from nnss_utils.midi import PITCHES
from nnss_utils.normalization import normalize_pairs
from nnss_utils.recurrent import BidirectionalLSTM
from nnss_utils.spectral import Spectral, window_samples

KEY_SIZE = 32  # numbers that stand for a key
GATE_UNITS = 128
SPLIT = 3 / 16  # of the bins, 4.1 kHz of 22.05: below, partials that sustain; above, noise that is soon gone
TONE_SHARE = 0.4  # of the keyed network's curves that are the tone's; the others are the impulse's
HEADS = 4  # of a transformer's attention
SLOWEST = 1e4  # frames: the longest wave of a transformer's positions, over 2 pi


def _direct_model(name: str, bins: int, body: Callable) -> keras.Model:
    """Return a direct network around `body`: (batch, frames, 2 bins) real and imaginary parts in, two outputs out."""
    parts = keras.Input((None, 2 * bins), name="codification")
    x = body(parts)
    real = nn.Dense(bins, name="real")(x)
    imaginary = nn.Dense(bins, name="imaginary")(x)
    return keras.Model(parts, [real, imaginary], name=name)


def _stacked(layer: Callable, layers: int) -> Callable:
    """Return a body of `layers` layers one after the other, each made by `layer()`."""

    def body(x):
        for _ in range(layers):
            x = layer()(x)
        return x

    return body


def direct_blstm(layers: int, units: int, bins: int) -> keras.Model:
    """Return the seed's network: `layers` bidirectional LSTMs, then a linear layer for each part of the spectrum.

    52,498,048 parameters at 2 layers of 1000 units and 1024 bins, as the author reports.
    """
    return _direct_model("direct_blstm", bins, _stacked(lambda: BidirectionalLSTM(units), layers))


def direct_gru(layers: int, units: int, bins: int) -> keras.Model:
    """Return the seed's network with GRUs (Cho et al. 2014) in place of LSTMs."""
    gru = partial(nn.GRU, units, return_sequences=True)
    return _direct_model("direct_gru", bins, _stacked(lambda: nn.Bidirectional(gru()), layers))


def direct_convolution(layers: int, units: int, bins: int) -> keras.Model:
    """Return a convolutional network over time, bins as channels: residual, dilation doubled from layer to layer.

    Source: the temporal convolutional networks of Bai et al. (2018), here looking both ways.
    """

    def body(x):
        x = nn.Dense(units)(x)
        for layer in range(layers):
            y = nn.Conv1D(units, 3, padding="same", dilation_rate=2**layer, activation="gelu")(x)
            x = nn.LayerNormalization()(nn.Add()([x, nn.Dense(units)(y)]))
        return x

    return _direct_model("direct_convolution", bins, body)


def direct_image_convolution(layers: int, units: int, bins: int) -> keras.Model:
    """Return a convolutional network over time and frequency, the spectrogram an image of two channels.

    A residual network as for images (He et al. 2016): kernels of 3 frames by 9 bins, `units` channels, each layer
    looking twice as far over the bins as the one before.
    """
    parts = keras.Input((None, 2 * bins), name="codification")
    x = ops.stack(ops.split(parts, 2, axis=-1), axis=-1)  # (batch, frames, bins, 2)
    x = nn.Conv2D(units, (3, 9), padding="same")(x)
    for layer in range(layers):
        y = nn.Conv2D(units, (3, 9), padding="same", dilation_rate=(1, 2**layer), activation="gelu")(x)
        x = nn.LayerNormalization()(nn.Add()([x, nn.Conv2D(units, 1)(y)]))
    image = nn.Conv2D(2, 1, name="parts")(x)
    # a layer over all bins at last, as the other networks have: a kernel knows no absolute frequency
    real, imaginary = (nn.Dense(bins, name=name)(image[..., i]) for i, name in enumerate(("real", "imaginary")))
    return keras.Model(parts, [real, imaginary], name="direct_image_convolution")


def direct_transformer(layers: int, units: int, bins: int) -> keras.Model:
    """Return a transformer encoder (Vaswani et al. 2017): attention over frames, sinusoidal positions, pre-norm.

    `units` must be a multiple of HEADS times 2.
    """

    def body(x):
        x = nn.Dense(units)(x)
        x = nn.Add()([x, _positions(x, units)])
        for _ in range(layers):
            y = nn.LayerNormalization()(x)
            x = nn.Add()([x, nn.MultiHeadAttention(HEADS, units // HEADS)(y, y)])
            y = nn.Dense(4 * units, activation="gelu")(nn.LayerNormalization()(x))
            x = nn.Add()([x, nn.Dense(units)(y)])
        return nn.LayerNormalization()(x)

    return _direct_model("direct_transformer", bins, body)


def _positions(x, units: int):
    """Return each frame's position as sines and cosines of `units` / 2 wavelengths each, like x (..., units)."""
    ones = ops.ones_like(x[..., : units // 2])
    frame, wave = ops.cumsum(ones, axis=1), ops.cumsum(ones, axis=-1) - 1.0
    angle = frame * ops.exp(wave * (-2 / units * math.log(SLOWEST)))
    return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)


def _mask_model(name: str, units: int, bins: int, body: Callable) -> keras.Model:
    """Return a mask network around `body`: levels, features and pitch in, masks (batch, frames, 4 bins) out."""
    level = keras.Input((None, bins), name="level")
    note = keras.Input((None, features.COUNT), name="features")
    pitch = keras.Input((None,), dtype="int32", name="pitch")
    # zeros at first: a key that never was trained still gets the masks of its codification's shape
    key = nn.Embedding(PITCHES, units, embeddings_initializer="zeros", name="key")(pitch)
    x = nn.Dense(units, name="first")(nn.Concatenate()([level, note]))
    x = body(nn.Add()([x, key]))
    masks = nn.Dense(4 * bins, name="masks")(x)
    return keras.Model([level, note, pitch], masks, name=name)


def mask_dense(layers: int, units: int, bins: int) -> keras.Model:
    """Return the single-frame mask network: `layers` dense layers, each frame on its own."""

    def body(x):
        x = nn.LayerNormalization()(nn.Activation("gelu")(x))
        for _ in range(layers - 1):
            x = nn.LayerNormalization()(nn.Dense(units, activation="gelu")(x))
        return x

    return _mask_model("mask_dense", units, bins, body)


def mask_blstm(layers: int, units: int, bins: int) -> keras.Model:
    """Return the recurrent mask network: `layers` bidirectional LSTMs over the frames of one voice."""
    return _mask_model("mask_blstm", units, bins, _stacked(lambda: BidirectionalLSTM(units), layers))


def mask_keyed(layers: int, units: int, bins: int) -> keras.Model:
    """Return the mask network whose last layer is the key's own: `units` curves over time, weighed bin by bin.

    Curves are a linear layer of the time since note-on, times a gate of the time since note-off and the velocity
    (`layers` dense layers beside a linear one); bins below and above SPLIT have curves of their own. A key's curves
    and weights are what all keys have in common plus a table of the key's own, zero at first: so a time that
    a key never met in training has what other keys have then. A row must hold frames of one key: they share its tables.
    """
    note = keras.Input((None, features.COUNT), name="features")
    pitch = keras.Input((None,), dtype="int32", name="pitch")
    level = keras.Input((None, bins), name="level")  # not needed: key and time say it
    on, rest = note[..., : features.SINCE_ON.count], note[..., features.SINCE_ON.count :]
    key = pitch[:, 0]
    x = nn.Concatenate()([rest, nn.Embedding(PITCHES, KEY_SIZE, name="key")(pitch)])
    for _ in range(layers):
        x = nn.Dense(GATE_UNITS, activation="gelu")(x)
    gate = nn.Dense(2 * units, bias_initializer="ones", name="gate")(nn.Concatenate()([rest, x]))
    own = ops.matmul(on, _table("own_curves", key, features.SINCE_ON.count, 2 * units))
    curves = nn.Multiply()([nn.Add()([nn.Dense(2 * units, name="curves")(on), own]), gate])
    split, tones = round(SPLIT * bins), max(1, round(TONE_SHARE * units))
    masks = []
    for name, first, last in (("tone", 0, tones), ("impulse", tones, units)):
        common = _table(f"common_{name}", ops.zeros_like(key), last - first, 2 * bins, rows=1)
        weights = nn.Add()([common, _table(f"own_{name}", key, last - first, 2 * bins)])
        below = ops.matmul(curves[..., first:last], weights[..., : 2 * split])
        above = ops.matmul(curves[..., units + first : units + last], weights[..., 2 * split :])
        masks.append(nn.Reshape((-1, bins, 2))(nn.Concatenate()([below, above])))
    return keras.Model([level, note, pitch], nn.Reshape((-1, 4 * bins))(nn.Concatenate()(masks)), name="mask_keyed")


def _table(name: str, row, height: int, width: int, rows: int = PITCHES):
    """Return for each index in `row` (voices,) its own matrix (voices, height, width), zero at first."""
    table = nn.Embedding(rows, height * width, embeddings_initializer="zeros", name=name)(row)
    return nn.Reshape((height, width))(table)


def borrow_tables(network: keras.Model, trained: set[int], low: int, high: int) -> list[int]:
    """Give each key of low..high that was never trained the tables of the nearest one that was; return these keys.

    The keyed network would else play them with what all keys have in common alone, far too softly.
    """
    missing = [pitch for pitch in range(low, high + 1) if pitch not in trained]
    nearest = [min(trained, key=lambda key: (abs(key - pitch), key)) for pitch in missing]
    tables = [weight for weight in network.weights if weight.path.startswith("own_")]
    for weight in tables if missing else ():
        values = ops.convert_to_numpy(weight).copy()
        values[missing] = values[nearest]
        weight.assign(values)
    return missing if tables else []


def complex_product(a, b):
    """Return the complex product of two tensors of pairs (..., 2)."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return ops.stack([real, imaginary], axis=-1)


def outer_product(coarse, fine, bins: int):
    """Return spectra as pairs (..., bins, 2) from their factors (..., impulses, n, 2), added over the impulses."""
    (a, b), (c, d) = ((factor[..., 0], factor[..., 1]) for factor in (coarse, fine))
    a, b, c, d = a[..., :, None], b[..., :, None], c[..., None, :], d[..., None, :]
    pairs = ops.stack([ops.sum(a * c - b * d, axis=-3), ops.sum(a * d + b * c, axis=-3)], axis=-1)
    *leading, high, low, _ = pairs.shape
    return ops.reshape(pairs, (-1, *leading[1:], high * low, 2))[..., :bins, :]


def predict_voices(model: keras.Model, inputs: dict, power: float | str, unit: float):
    """Return a mask network's normalized prediction (voices, frames, bins, 2).

    inputs: "tone", spectra as pairs (voices, frames, bins, 2); "coarse" and "fine", the impulses' spectra as factors
    (`voices.impulse_factors`, pairs); "features" (voices, frames, COUNT); "pitch" int32 (voices, frames). Masks are
    applied in the normalized domain, in units of `unit`.
    """
    tone = normalize_pairs(inputs["tone"], power)
    impulse = normalize_pairs(outer_product(inputs["coarse"], inputs["fine"], tone.shape[-2]), power)
    level = ops.sqrt(ops.sum(ops.square(tone), axis=-1) + 1e-12)
    masks = ops.cast(model([level, inputs["features"], inputs["pitch"]]), "float32")
    mask_tone, mask_impulse = ops.split(ops.reshape(masks, (*ops.shape(tone)[:-1], 4)), 2, axis=-1)
    return unit * (complex_product(mask_tone, tone) + complex_product(mask_impulse, impulse))


def predict_mix(model: keras.Model, inputs: dict, power: float | str, unit: float):
    """Return a direct network's normalized prediction (batch, frames, bins, 2) from "codification" pairs alike."""
    codification = normalize_pairs(inputs["codification"], power)
    parts = ops.concatenate([codification[..., 0], codification[..., 1]], axis=-1)
    return unit * ops.cast(ops.stack(model(parts), axis=-1), "float32")


def sounds_of(pairs, spectral: Spectral, start=None):
    """Return the sounds (examples, samples) that the inverse STFT makes of spectra (examples, frames, bins, 2).

    The differentiable counterpart of spectral.istft, at the oversampled rate. Spectra are scaled as the networks
    see them; start: first samples (examples,), given where they are heterodyned.
    """
    length, step, frames = spectral.frame_length, spectral.frame_step, pairs.shape[1]
    real, imaginary = pairs[..., 0], pairs[..., 1]
    if start is not None:
        at = ops.expand_dims(start, -1) + step * np.arange(frames, dtype=np.int32)
        turns = ops.mod(ops.expand_dims(at % length, -1) * np.arange(spectral.bins, dtype=np.int32), length)
        angle = ops.cast(turns, "float32") * (2 * np.pi / length)
        c, s = ops.cos(angle), ops.sin(angle)
        real, imaginary = real * c - imaginary * s, real * s + imaginary * c
    missing = [(0, 0), (0, 0), (0, length // 2 + 1 - spectral.bins)]
    window = window_samples(spectral)
    parts = ops.irfft((ops.pad(real, missing), ops.pad(imaginary, missing)), fft_length=length)
    parts = ops.reshape(parts * (window / spectral.scale), (-1, frames * length))
    position = (step * np.arange(frames)[:, None] + np.arange(length)).ravel().astype(np.int32)
    weight = np.bincount(position, np.tile(window.astype(np.float64) ** 2, frames))
    sounds = ops.segment_sum(ops.transpose(parts), position, num_segments=len(weight))
    return ops.transpose(sounds) / np.maximum(weight, 0.01 * weight.max()).astype(np.float32)
