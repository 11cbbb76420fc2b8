"""The networks, all Keras functional models of stock layers: saved as .keras, loaded without custom code.

Notebook 05_train trains them. A direct network turns the codification's normalized spectrogram into the
piano's. A mask network says by what the tone and the impulse channel are multiplied, bin by bin:
prediction = mask_tone x tone + mask_impulse x impulse. Complex numbers are real pairs (..., 2).
"""

from collections.abc import Callable

import keras
from keras import layers, ops

from nnss_utils import features
from nnss_utils.config import Network
from nnss_utils.normalization import normalize_pairs

PITCHES = 128


def direct_blstm(network: Network, bins: int) -> keras.Model:
    """Return the seed's network: (batch, frames, 2 bins) real and imaginary parts in, two (batch, frames, bins) out.

    52,498,048 parameters at 2 layers of 1000 units and 1024 bins, as the author reports.
    """
    parts = keras.Input((None, 2 * bins), name="codification")
    x = parts
    for _ in range(network.layers):
        x = layers.Bidirectional(layers.LSTM(network.units, return_sequences=True))(x)
    real = layers.Dense(bins, name="real")(x)
    imaginary = layers.Dense(bins, name="imaginary")(x)
    return keras.Model(parts, [real, imaginary], name="direct_blstm")


def _mask_model(name: str, network: Network, bins: int, body: Callable) -> keras.Model:
    """Return a mask network around `body`: levels, features and pitch in, masks (batch, frames, 4 bins) out."""
    level = keras.Input((None, bins), name="level")
    note = keras.Input((None, features.COUNT), name="features")
    pitch = keras.Input((None,), dtype="int32", name="pitch")
    # zeros at first: a key that never was trained still gets the masks of its codification's shape
    key = layers.Embedding(PITCHES, network.units, embeddings_initializer="zeros", name="key")(pitch)
    x = layers.Dense(network.units, name="first")(layers.Concatenate()([level, note]))
    x = body(layers.Add()([x, key]))
    masks = layers.Dense(4 * bins, name="masks")(x)
    return keras.Model([level, note, pitch], masks, name=name)


def mask_dense(network: Network, bins: int) -> keras.Model:
    """Return the single-frame mask network: `layers` dense layers, each frame on its own."""

    def body(x):
        x = layers.LayerNormalization()(layers.Activation("gelu")(x))
        for _ in range(network.layers - 1):
            x = layers.LayerNormalization()(layers.Dense(network.units, activation="gelu")(x))
        return x

    return _mask_model("mask_dense", network, bins, body)


def mask_blstm(network: Network, bins: int) -> keras.Model:
    """Return the recurrent mask network: `layers` bidirectional LSTMs over the frames of one voice."""

    def body(x):
        for _ in range(network.layers):
            x = layers.Bidirectional(layers.LSTM(network.units, return_sequences=True))(x)
        return x

    return _mask_model("mask_blstm", network, bins, body)


BUILDERS = {"mask_dense": mask_dense, "mask_blstm": mask_blstm, "direct_blstm": direct_blstm}


def build(network: Network, bins: int) -> keras.Model:
    """Return the network that `network.architecture` names, with fresh weights."""
    return BUILDERS[network.architecture](network, bins)


def complex_product(a, b):
    """Return the complex product of two tensors of pairs (..., 2)."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return ops.stack([real, imaginary], axis=-1)


def predict_voices(model: keras.Model, inputs: dict, power: float, unit: float):
    """Return a mask network's normalized prediction (voices, frames, bins, 2).

    inputs: "tone" and "impulse", spectra as pairs (voices, frames, bins, 2), "features" (voices, frames, COUNT),
    "pitch" int32 (voices, frames). Masks are applied in the normalized domain, in units of `unit`.
    """
    tone = normalize_pairs(inputs["tone"], power)
    impulse = normalize_pairs(inputs["impulse"], power)
    level = ops.sqrt(ops.sum(ops.square(tone), axis=-1) + 1e-12)
    masks = model([level, inputs["features"], inputs["pitch"]])
    mask_tone, mask_impulse = ops.split(ops.reshape(masks, (*ops.shape(tone)[:-1], 4)), 2, axis=-1)
    return unit * (complex_product(mask_tone, tone) + complex_product(mask_impulse, impulse))


def predict_mix(model: keras.Model, inputs: dict, power: float, unit: float):
    """Return a direct network's normalized prediction (batch, frames, bins, 2) from "codification" pairs alike."""
    codification = normalize_pairs(inputs["codification"], power)
    parts = ops.concatenate([codification[..., 0], codification[..., 1]], axis=-1)
    return unit * ops.stack(model(parts), axis=-1)
