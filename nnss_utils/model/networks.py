"""The networks, Keras functional models (notebook 05_train trains them, 07_claims compares them).

A direct network turns the codification's normalized spectrum into the piano's. A mask network returns the masks that
multiply the tone and the impulse channel, bin by bin. Each is a function (layers, units, bins) -> keras.Model. To add
yours, write before you use its name:

    ARCHITECTURES["mine"] = Architecture(function)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise

from nnss_utils.instruments.modes import MODES
from nnss_utils.midi import PITCHES
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn
from nnss_utils.model.recurrent import BidirectionalLSTM
from nnss_utils.model.time_basis import ATTACK, FEATURES, SINCE_ON

KEY_SIZE = 32  # size of a key's embedding
GATE_UNITS = 128
SPLIT = 3 / 16  # of the bins, 4.1 of 22.05 kHz: below are partials that sustain, above noise that decays fast
TOP = 3 / 4  # of the bins, 16.5 of 22.05 kHz: above is little sound
DAMPING = 25.0  # 1/s: the decay of a released key that training begins with
NEAR = 0.06  # s after note-on
CURVES = {"low": 3 / 8, "high": 1, "top": 1 / 4}  # of a modal network's units, for bins below, between and above
TONE_SHARE = 0.4  # of the keyed network's curves; the others are the impulse's
GAIN_SPREAD = 0.02  # of gains at first: of 0, a power above 1 has no gradient
HEADS = 4  # of a transformer's attention
SLOWEST = 1e4  # frames: the longest wave of a transformer's positions, over 2 pi


def _direct(body: Callable) -> Callable:
    """Return the function (layers, units, bins) -> keras.Model of a direct network: body and two linear layers."""

    @wraps(body)
    def build(layers: int, units: int, bins: int) -> keras.Model:
        parts = keras.Input((None, 2 * bins), name="codification")
        x = body(parts, layers, units)
        real, imaginary = x if isinstance(x, tuple) else (x, x)
        outputs = [nn.Dense(bins, name="real")(real), nn.Dense(bins, name="imaginary")(imaginary)]
        return keras.Model(parts, outputs, name=body.__name__)

    return build


@_direct
def direct_blstm(x, layers: int, units: int):
    """Return the author's bidirectional LSTMs: 52,498,048 parameters at 2 layers of 1000 units and 1024 bins."""
    for _ in range(layers):
        x = BidirectionalLSTM(units)(x)
    return x


@_direct
def direct_gru(x, layers: int, units: int):
    """Return the author's network with GRUs (Cho et al. 2014) in place of LSTMs."""
    for _ in range(layers):
        x = nn.Bidirectional(nn.GRU(units, return_sequences=True))(x)
    return x


@_direct
def direct_convolution(x, layers: int, units: int):
    """Return a residual convolutional network over time, both directions, bins as channels (Bai et al. 2018)."""
    x = nn.Dense(units)(x)
    for layer in range(layers):
        y = nn.Conv1D(units, 3, padding="same", dilation_rate=2**layer, activation="gelu")(x)
        x = nn.LayerNormalization()(nn.Add()([x, nn.Dense(units)(y)]))
    return x


@_direct
def direct_image_convolution(x, layers: int, units: int):
    """Return a residual network as for images (He et al. 2016): the spectrogram is one of two channels. Kernels have 3
    frames by 9 bins and a reach over the bins that doubles from layer to layer. They don't know absolute frequency: the
    linear layers at the end do."""
    x = ops.stack(ops.split(x, 2, axis=-1), axis=-1)  # (batch, frames, bins, 2)
    x = nn.Conv2D(units, (3, 9), padding="same")(x)
    for layer in range(layers):
        y = nn.Conv2D(units, (3, 9), padding="same", dilation_rate=(1, 2**layer), activation="gelu")(x)
        x = nn.LayerNormalization()(nn.Add()([x, nn.Conv2D(units, 1)(y)]))
    image = nn.Conv2D(2, 1, name="parts")(x)
    return image[..., 0], image[..., 1]


@_direct
def direct_transformer(x, layers: int, units: int):
    """Return a transformer encoder over frames (Vaswani et al. 2017), pre-norm; `units`: a multiple of 2 HEADS."""
    x = nn.Dense(units)(x)
    ones = ops.ones_like(x[..., : units // 2])
    frame, wave = ops.cumsum(ones, axis=1), ops.cumsum(ones, axis=-1) - 1.0
    angle = frame * ops.exp(wave * (-2 / units * math.log(SLOWEST)))
    x = nn.Add()([x, ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)])
    for _ in range(layers):
        y = nn.LayerNormalization()(x)
        x = nn.Add()([x, nn.MultiHeadAttention(HEADS, units // HEADS)(y, y)])
        y = nn.Dense(4 * units, activation="gelu")(nn.LayerNormalization()(x))
        x = nn.Add()([x, nn.Dense(units)(y)])
    return nn.LayerNormalization()(x)


def _mask_inputs(bins: int) -> list:
    """Return a mask network's inputs: levels (batch, frames, bins), features and pitches."""
    shapes = {"level": (None, bins), "features": (None, FEATURES), "pitch": (None,)}
    return [keras.Input(shape, dtype="int32" if name == "pitch" else None, name=name) for name, shape in shapes.items()]


def _mask(body: Callable) -> Callable:
    """Return the function (layers, units, bins) -> keras.Model of a mask network; body: (batch, frames, units)."""

    @wraps(body)
    def build(layers: int, units: int, bins: int) -> keras.Model:
        inputs = level, features, pitch = _mask_inputs(bins)
        # zeros at first, so an untrained key gets the part that all keys share
        key = nn.Embedding(PITCHES, units, embeddings_initializer="zeros", name="key")(pitch)
        x = nn.Dense(units, name="first")(nn.Concatenate()([level, features]))
        x = body(nn.Add()([x, key]), layers, units)
        return keras.Model(inputs, nn.Dense(4 * bins, name="masks")(x), name=body.__name__)

    return build


@_mask
def mask_dense(x, layers: int, units: int):
    """Return the single-frame mask network: `layers` dense layers, for each frame alone."""
    x = nn.LayerNormalization()(nn.Activation("gelu")(x))
    for _ in range(layers - 1):
        x = nn.LayerNormalization()(nn.Dense(units, activation="gelu")(x))
    return x


@_mask
def mask_blstm(x, layers: int, units: int):
    """Return the recurrent mask network: `layers` bidirectional LSTMs over the frames of one voice."""
    for _ in range(layers):
        x = BidirectionalLSTM(units)(x)
    return x


def mask_keyed(layers: int, units: int, bins: int) -> keras.Model:
    """Return the mask network in which each key has its own last layer: `units` curves over time, weighted bin by bin.

    Curves are a linear layer of the time since note-on, times a gate of the time since note-off and the velocity
    (`layers` dense layers beside a linear one); bins below SPLIT have other curves than bins above. Each key adds its
    own table, zero at first, to what all keys share: at times that training never showed for a key, it behaves like the
    other keys. All frames of a row must be of one key."""
    inputs = _, note, pitch = _mask_inputs(bins)  # key and time determine the levels
    times = SINCE_ON.count
    on, rest, key = note[..., :times], note[..., times:], pitch[:, 0]
    x = nn.Concatenate()([rest, nn.Embedding(PITCHES, KEY_SIZE, name="key")(pitch)])
    for _ in range(layers):
        x = nn.Dense(GATE_UNITS, activation="gelu")(x)
    curves = _curves("", on, nn.Concatenate()([rest, x]), 2 * units, key)
    split, tones = round(SPLIT * bins), max(1, round(TONE_SHARE * units))
    masks = []
    for name, first, last in (("tone", 0, tones), ("impulse", tones, units)):
        weights = _weights(name, last - first, 2 * bins, key)
        below = ops.matmul(curves[..., first:last], weights[..., : 2 * split])
        above = ops.matmul(curves[..., units + first : units + last], weights[..., 2 * split :])
        masks.append(nn.Reshape((-1, bins, 2))(nn.Concatenate()([below, above])))
    return keras.Model(inputs, nn.Reshape((-1, 4 * bins))(nn.Concatenate()(masks)), name="mask_keyed")


def modal(layers: int, units: int, bins: int, keys: int = PITCHES, dynamics: int = 1) -> keras.Model:
    """Return the modal network: each key has a gain curve over time for each of its modes, and `units` curves over
    time, weighted bin by bin, for the mask of the impulse: fewer below SPLIT, where modes make most of the sound, and
    above TOP.

    Curves are a linear layer of the time since note-on, times a gate (`layers` dense layers beside a linear one) of the
    time since note-off, the velocity and the key. Until NEAR the gate also knows the time since note-on, since a short
    note's attack and release lie in one frame; later a release is the same at every time. Each key has its own damping,
    with which its modes decay after note-off. All frames of a row must be of one key.

    There are `keys` x `dynamics` rows of tables: each velocity that a key was heard at has its own gains, damping and
    impulse below SPLIT. Above, the velocities of a key differ by the gate alone."""
    sizes = {"features": FEATURES, "attack": ATTACK.count}
    inputs = note, attack, row = [
        *(keras.Input((None, size), name=name) for name, size in sizes.items()),
        keras.Input((None,), dtype="int32", name="row"),
    ]
    times, rows = SINCE_ON.count, keys * dynamics
    on, rest, key = note[..., :times], note[..., times:], row[:, 0]
    near = on[..., : SINCE_ON.until(NEAR)]
    x = nn.Concatenate()([near, rest, nn.Embedding(rows, KEY_SIZE, name="key")(row)])
    for _ in range(layers):
        x = nn.Dense(GATE_UNITS, activation="gelu")(x)
    x = nn.Concatenate()([rest, x])
    gate = nn.Dense(MODES, bias_initializer="ones", name="gate")(x)
    own = ops.matmul(on, _table("own_gains", key, times, 2 * MODES, rows, GAIN_SPREAD))
    gains = nn.Multiply()([nn.Reshape((-1, MODES, 2))(own), ops.expand_dims(gate, -1)])
    masks, fine = [], nn.Concatenate()([on, attack])
    for name, curves, width in impulse_bands(units, bins):
        time, table = (on, (key, rows)) if name == "low" else (fine, (key // dynamics, keys))
        curve = _curves(f"_{name}", time, x, curves, *table)
        masks.append(ops.matmul(curve, _weights(name, curves, width, *table, GAIN_SPREAD)))
    mask = nn.Reshape((-1, bins, 2))(nn.Concatenate()(masks))
    off = nn.Dense(1, kernel_initializer="zeros", name="off")(x)  # how much of the impulse at note-off, none at first
    damping = DAMPING * ops.exp(_table("own_damping", key, 1, 1, rows))
    return keras.Model(inputs, [gains, mask, off, damping], name="modal")


def impulse_bands(units: int, bins: int) -> list[tuple[str, int, int]]:
    """Return name, number of curves, and number of weights of a curve (two a bin) of a modal network's three bands."""
    edges = [0, round(SPLIT * bins), round(TOP * bins), bins]
    widths = zip(CURVES.items(), pairwise(edges), strict=True)
    return [(name, max(1, round(share * units)), 2 * (last - first)) for (name, share), (first, last) in widths]


def _curves(name: str, time, gates, count: int, row, rows: int = PITCHES):
    """Return `count` curves: a linear layer of `time`, shared and the row's own, times a linear layer of `gates`."""
    own = ops.matmul(time, _table(f"own_curves{name}", row, time.shape[-1], count, rows))
    gate = nn.Dense(count, bias_initializer="ones", name=f"gate{name}")(gates)
    return nn.Multiply()([nn.Add()([nn.Dense(count, name=f"curves{name}")(time), own]), gate])


def _weights(name: str, height: int, width: int, row, rows: int = PITCHES, spread: float = 0.0):
    """Return a row's matrix (voices, height, width): what all rows share, `spread` at first, and its own."""
    common = _table(f"common_{name}", ops.zeros_like(row), height, width, 1, spread)
    return nn.Add()([common, _table(f"own_{name}", row, height, width, rows)])


def _table(name: str, row, height: int, width: int, rows: int = PITCHES, spread: float = 0.0):
    """Return for each index in `row` (voices,) its own matrix (voices, height, width), at first zero, or random with a
    standard deviation of `spread`."""
    initial = keras.initializers.RandomNormal(stddev=spread) if spread else "zeros"
    table = nn.Embedding(rows, height * width, embeddings_initializer=initial, name=name)(row)
    return nn.Reshape((height, width))(table)


@dataclass(frozen=True)
class Architecture:
    """A function (layers, units, bins) -> keras.Model, and the sizes that a parameter of 0 means, for two CPU cores.
    per_voice: it hears one note at a time, not the mix. modes: it is a modal one, which gives gains of modes.
    sequences: it needs frames in a row, not just any frames of one note."""

    build: Callable
    per_voice: bool = False
    modes: bool = False
    sequences: bool = True
    layers: int = 2
    units: int = 256
    batch: int = 16
    frames: int = 64
    steps: int = 1500
    learning_rate: float = 2e-3
    echo: int = 1
    frame_step: int = 256


ARCHITECTURES = {
    "modal": Architecture(modal, True, True, False, 1, 30, 32, 12, 9000, 6e-3, 2, 1024),
    "mask_keyed": Architecture(mask_keyed, True, False, False, 1, 30, 88, 12, 3000, 6e-3, 2),
    "mask_dense": Architecture(mask_dense, True, False, False, 3, 512, 1024, 1),
    "mask_blstm": Architecture(mask_blstm, True, False, True, 2, 256, 32, 32),
    "direct_blstm": Architecture(direct_blstm),
    "direct_gru": Architecture(direct_gru),
    "direct_convolution": Architecture(direct_convolution, layers=4),
    "direct_image_convolution": Architecture(direct_image_convolution, layers=4, units=16),
    "direct_transformer": Architecture(direct_transformer, layers=4),
}
