"""The project's LSTM is Keras' own, to rounding: outputs, gradients, weights, first values; and it can be saved."""

import keras
import numpy as np
import pytest
from keras import layers as nn

from nnss_utils.model.recurrent import BidirectionalLSTM


def pair_of_layers(units: int, inputs: int):
    """Return our layer and Keras' with the same weights, biases away from their first values."""
    ours = BidirectionalLSTM(units)
    theirs = nn.Bidirectional(nn.LSTM(units, return_sequences=True))
    for layer in (ours, theirs):
        layer.build((None, None, inputs))
    rng = np.random.default_rng(1)
    ours.set_weights([w + 0.1 * rng.standard_normal(w.shape).astype(np.float32) for w in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def outputs_and_gradients(layer, x: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    """Return a layer's outputs, and the gradients by its input and all weights of their product with `upstream`."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken by TensorFlow's tape")
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        value = tf.reduce_sum(y * upstream)
    gradients = tape.gradient(value, [x, *[w.value for w in layer.trainable_variables]])
    return [y.numpy(), *[g.numpy() for g in gradients]]


@pytest.mark.parametrize(("units", "inputs", "batch", "frames"), [(7, 5, 3, 11), (64, 40, 4, 33), (3, 8, 1, 1)])
def test_outputs_and_gradients_are_those_of_keras(units, inputs, batch, frames):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, frames, inputs)).astype(np.float32)
    upstream = rng.standard_normal((batch, frames, 2 * units)).astype(np.float32)
    ours, theirs = (outputs_and_gradients(layer, x, upstream) for layer in pair_of_layers(units, inputs))
    assert len(ours) == len(theirs) == 8
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max())


def test_weights_start_as_those_of_keras():
    ours, theirs = BidirectionalLSTM(6), nn.Bidirectional(nn.LSTM(6, return_sequences=True))
    for layer in (ours, theirs):
        layer.build((None, None, 4))
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert a.shape == b.shape
    for bias in (2, 5):
        np.testing.assert_array_equal(ours.get_weights()[bias], theirs.get_weights()[bias])
    for kernel in (1, 4):  # orthogonal rows
        w = ours.get_weights()[kernel]
        np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-5)


def test_a_saved_layer_is_loaded_in_safe_mode(tmp_path):
    x = keras.Input((None, 5))
    model = keras.Model(x, BidirectionalLSTM(3)(x))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    sample = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(model(sample), loaded(sample))
    assert loaded.output_shape == (None, None, 6)
