"""The networks, Keras functional models (notebook 05_train trains them, 07_claims compares them).

A direct network turns the codification's normalized spectrum into the piano's. A mask network answers with masks: by
what the tone and the impulse channel are multiplied, bin by bin. Each network is a function (layers, units, bins) ->
keras.Model. ARCHITECTURES lists them by name; add one of your own before you use its name:

    ARCHITECTURES["mine"] = Architecture(function)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nnss_utils.midi import PITCHES
from nnss_utils.model import time_basis
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn
from nnss_utils.model.recurrent import BidirectionalLSTM

KEY_SIZE = 32  # size of a key's embedding
GATE_UNITS = 128
SPLIT = 3 / 16  # of the bins, 4.1 of 22.05 kHz: below are partials that sustain, above noise that decays fast
TONE_SHARE = 0.4  # of the keyed network's curves; the others are the impulse's
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
    """Return a body of `layers` layers in a row, each made by `layer()`."""

    def body(x):
        for _ in range(layers):
            x = layer()(x)
        return x

    return body


def direct_blstm(layers: int, units: int, bins: int) -> keras.Model:
    """Return the author's network: `layers` bidirectional LSTMs, then a linear layer for each part of the spectrum.

    52,498,048 parameters at 2 layers of 1000 units and 1024 bins, as the author reports.
    """
    return _direct_model("direct_blstm", bins, _stacked(lambda: BidirectionalLSTM(units), layers))


def direct_gru(layers: int, units: int, bins: int) -> keras.Model:
    """Return the author's network with GRUs (Cho et al. 2014) in place of LSTMs."""
    gru = partial(nn.GRU, units, return_sequences=True)
    return _direct_model("direct_gru", bins, _stacked(lambda: nn.Bidirectional(gru()), layers))


def direct_convolution(layers: int, units: int, bins: int) -> keras.Model:
    """Return a residual convolutional network over time, bins as channels, with a dilation that doubles per layer.

    Source: the temporal convolutional networks of Bai et al. (2018), here in both directions.
    """

    def body(x):
        x = nn.Dense(units)(x)
        for layer in range(layers):
            y = nn.Conv1D(units, 3, padding="same", dilation_rate=2**layer, activation="gelu")(x)
            x = nn.LayerNormalization()(nn.Add()([x, nn.Dense(units)(y)]))
        return x

    return _direct_model("direct_convolution", bins, body)


def direct_image_convolution(layers: int, units: int, bins: int) -> keras.Model:
    """Return a convolutional network over time and frequency: the spectrogram is an image of two channels.

    A residual network as for images (He et al. 2016): kernels of 3 frames by 9 bins, `units` channels, and a reach
    over the bins that doubles from layer to layer.
    """
    parts = keras.Input((None, 2 * bins), name="codification")
    x = ops.stack(ops.split(parts, 2, axis=-1), axis=-1)  # (batch, frames, bins, 2)
    x = nn.Conv2D(units, (3, 9), padding="same")(x)
    for layer in range(layers):
        y = nn.Conv2D(units, (3, 9), padding="same", dilation_rate=(1, 2**layer), activation="gelu")(x)
        x = nn.LayerNormalization()(nn.Add()([x, nn.Conv2D(units, 1)(y)]))
    image = nn.Conv2D(2, 1, name="parts")(x)
    # at the end a layer over all bins, as in the other networks: a kernel knows no absolute frequency
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
    """Return each frame's position as sines and cosines of `units` / 2 wavelengths, shaped like x (..., units)."""
    ones = ops.ones_like(x[..., : units // 2])
    frame, wave = ops.cumsum(ones, axis=1), ops.cumsum(ones, axis=-1) - 1.0
    angle = frame * ops.exp(wave * (-2 / units * math.log(SLOWEST)))
    return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)


def _mask_model(name: str, units: int, bins: int, body: Callable) -> keras.Model:
    """Return a mask network around `body`: levels, features and pitch in, masks (batch, frames, 4 bins) out."""
    level = keras.Input((None, bins), name="level")
    note = keras.Input((None, time_basis.FEATURES), name="features")
    pitch = keras.Input((None,), dtype="int32", name="pitch")
    # zeros at first: a key without training still gets the masks of its codification's shape
    key = nn.Embedding(PITCHES, units, embeddings_initializer="zeros", name="key")(pitch)
    x = nn.Dense(units, name="first")(nn.Concatenate()([level, note]))
    x = body(nn.Add()([x, key]))
    masks = nn.Dense(4 * bins, name="masks")(x)
    return keras.Model([level, note, pitch], masks, name=name)


def mask_dense(layers: int, units: int, bins: int) -> keras.Model:
    """Return the single-frame mask network: `layers` dense layers, for each frame alone."""

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
    """Return the mask network in which each key has its own last layer: `units` curves over time, weighted bin by bin.

    Curves are a linear layer of the time since note-on, times a gate of the time since note-off and the velocity
    (`layers` dense layers beside a linear one); bins below and above SPLIT have curves of their own. A key's curves and
    weights are a part common to all keys plus a table of the key's own, zero at first: at times that a key never met in
    training, it does what the other keys do. All frames of a row must be of one key: they share its tables.
    """
    note = keras.Input((None, time_basis.FEATURES), name="features")
    pitch = keras.Input((None,), dtype="int32", name="pitch")
    level = keras.Input((None, bins), name="level")  # not used: key and time determine it
    on, rest = note[..., : time_basis.SINCE_ON.count], note[..., time_basis.SINCE_ON.count :]
    key = pitch[:, 0]
    x = nn.Concatenate()([rest, nn.Embedding(PITCHES, KEY_SIZE, name="key")(pitch)])
    for _ in range(layers):
        x = nn.Dense(GATE_UNITS, activation="gelu")(x)
    gate = nn.Dense(2 * units, bias_initializer="ones", name="gate")(nn.Concatenate()([rest, x]))
    own = ops.matmul(on, _table("own_curves", key, time_basis.SINCE_ON.count, 2 * units))
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
    """Give each untrained key of low..high the tables of the nearest trained one, and return the untrained keys.

    With the common part alone the keyed network would play them far too softly.
    """
    missing = [pitch for pitch in range(low, high + 1) if pitch not in trained]
    nearest = [min(trained, key=lambda key: (abs(key - pitch), key)) for pitch in missing]
    tables = [weight for weight in network.weights if weight.path.startswith("own_")]
    for weight in tables if missing else ():
        values = ops.convert_to_numpy(weight).copy()
        values[missing] = values[nearest]
        weight.assign(values)
    return missing if tables else []


@dataclass(frozen=True)
class Architecture:
    """A function (layers, units, bins) -> keras.Model, what it hears, and the sizes that suit two CPU cores.

    per_voice: a mask network, which hears one note at a time, not the mix. sequences: it needs frames in a row;
    otherwise a row may hold any frames of one note. The rest are the values that a parameter of 0 stands for.
    """

    build: Callable
    per_voice: bool = False
    sequences: bool = True
    layers: int = 2
    units: int = 256
    batch: int = 16
    frames: int = 64
    steps: int = 1500
    learning_rate: float = 2e-3
    echo: int = 1


ARCHITECTURES = {
    "mask_keyed": Architecture(mask_keyed, True, False, 1, 30, 88, 12, 3000, 6e-3, 2),
    "mask_dense": Architecture(mask_dense, True, False, 3, 512, 1024, 1),
    "mask_blstm": Architecture(mask_blstm, True, True, 2, 256, 32, 32),
    "direct_blstm": Architecture(direct_blstm),
    "direct_gru": Architecture(direct_gru),
    "direct_convolution": Architecture(direct_convolution, layers=4),
    "direct_image_convolution": Architecture(direct_image_convolution, layers=4, units=16),
    "direct_transformer": Architecture(direct_transformer, layers=4),
}
