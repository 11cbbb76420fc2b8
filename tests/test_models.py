"""The networks: sizes, shapes, and that they can learn; the losses; model files."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from nnss_utils import losses, models
from nnss_utils.config import ARCHITECTURES, LOSSES, Network, Settings, make_settings
from nnss_utils.errors import InputError
from nnss_utils.features import COUNT, event_features
from nnss_utils.modelfile import find_model, load_model, model_names, save_model
from nnss_utils.normalization import denormalize, normalize
from nnss_utils.sampling import PairSampler
from nnss_utils.training import Trainer, normalized_level
from nnss_utils.tuning import estimate_tuning


def test_the_seeds_network_has_its_52_million_parameters():
    assert models.build(Network("direct_blstm", 2, 1000), 1024).count_params() == 52_498_048


def test_every_name_has_its_function():
    assert set(models.BUILDERS) == set(ARCHITECTURES) and set(losses.LOSSES) == set(LOSSES)


@pytest.mark.parametrize("architecture", ["mask_dense", "mask_blstm"])
def test_mask_networks_give_two_complex_masks(architecture):
    network = models.build(Network(architecture, 2, 8), 32)
    inputs = [np.zeros((3, 5, 32)), np.zeros((3, 5, COUNT)), np.full((3, 5), 60)]
    assert network(inputs).shape == (3, 5, 4 * 32)


def test_the_direct_network_gives_real_and_imaginary_parts():
    real, imaginary = models.build(Network("direct_blstm", 1, 8), 32)(np.zeros((3, 5, 64)))
    assert real.shape == imaginary.shape == (3, 5, 32)


def test_complex_products_and_masks():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((4, 2)).astype(np.float32) for _ in range(2))
    product = np.asarray(models.complex_product(tf.constant(a), tf.constant(b)))
    np.testing.assert_allclose(
        product.view(np.complex64)[:, 0], a.view(np.complex64)[:, 0] * b.view(np.complex64)[:, 0], rtol=1e-5
    )


def test_known_masks_give_the_known_sound():
    """A network that always answers with tone mask 2j and impulse mask 3 turns its inputs as it should."""

    def constant(inputs):
        shape = (*inputs[0].shape[:-1], 1)
        return np.tile(np.tile(np.float32([0, 2, 3, 0]), 16), shape)

    rng = np.random.default_rng(0)
    tone, impulse = (rng.standard_normal((1, 3, 16, 2)).astype(np.float32) for _ in range(2))
    inputs = {"tone": tone, "impulse": impulse, "features": None, "pitch": None}
    out = np.asarray(models.predict_voices(constant, inputs, 0.5, 0.1)).view(np.complex64)[..., 0]
    T, X = (normalize(x.view(np.complex64)[..., 0], 0.5) for x in (tone, impulse))
    np.testing.assert_allclose(out, 0.1 * (2j * T + 3 * X), rtol=1e-4)


def test_losses_in_closed_form():
    target, prediction = np.zeros((1, 1, 1, 2), np.float32), np.float32([[[[3, -4]]]])
    assert float(losses.mse(target, prediction)) == pytest.approx(12.5)
    assert float(losses.mae(target, prediction)) == pytest.approx(3.5)
    assert float(losses.complex_magnitude(target, prediction)) == pytest.approx(0.7 * 12.5 + 0.3 * 12.5, rel=1e-4)
    turned = np.float32([[[[4, 3]]]])  # the same magnitude: only the complex part counts
    assert float(losses.complex_magnitude(prediction, turned)) == pytest.approx(
        0.7 * float(losses.mse(prediction, turned)), rel=1e-4
    )


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_finite_at_silence(name):
    x = tf.Variable(np.zeros((2, 1, 4, 2), np.float32))
    with tf.GradientTape() as tape:
        value = losses.LOSSES[name](tf.zeros((2, 1, 4, 2)), x)
    assert np.isfinite(value) and np.all(np.isfinite(tape.gradient(value, x)))


def test_event_features_know_before_from_after():
    before, at, after = event_features(np.array([-0.05, 0.0, 0.05]))
    assert not np.allclose(before, after) and np.all(np.isfinite([before, at, after]))
    assert not before[:7].any() and np.all(at[:7] == 1)
    assert np.all(np.isfinite(event_features(np.array([-1e4, 1e4]))))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_overfits_one_batch(pair, architecture):
    """Each architecture, from MIDI to loss: what it can't do on one batch it can't do at all."""
    settings = make_settings(
        name="overfit", architecture=architecture, layers=1, units=64, batch=4, frames=8, frame_length=512, holdout=0.0,
        power=0.5, learning_rate=3e-3,
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    sampler = PairSampler(pair.notes, pair.audio, settings, estimate_tuning(pair.audio, pair.notes, 60, 64))
    batch = sampler.batch(0)
    inputs = batch.inputs if batch.example is None else {**batch.inputs, "example": batch.example}
    level = normalized_level(batch.target, 0.5)
    trainer = Trainer(models.build(settings.network, settings.spectral.bins), settings, level, mixed=sampler.mixed)
    losses_seen = [float(trainer.train_on_batch(inputs, batch.target)) for _ in range(250)]
    assert losses_seen[-1] < 0.1 * losses_seen[0]


def test_a_model_file_is_all_one_needs(model, tmp_path, piano):
    path = save_model(tmp_path / "copy.keras", model)
    loaded = load_model(str(path))
    assert (loaded.settings, loaded.tuning, loaded.level) == (model.settings, model.tuning, model.level)
    assert (loaded.low, loaded.high, loaded.instrument, loaded.name) == (60, 64, "steinway", "small")
    for a, b in zip(model.network.weights, loaded.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert Settings.from_dict(loaded.settings.to_dict()) == model.settings


def test_model_files_hold_no_pickle_and_no_code(model, tmp_path):
    path = save_model(tmp_path / "copy.keras", model)
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {"metadata.json", "config.json", "model.weights.h5", "nnss.json"}
        config = archive.read("config.json").decode()
    assert "nnss_utils" not in config and "Lambda" not in config  # stock layers only


def test_models_are_found_by_name(model):
    assert "small" in model_names()
    assert find_model("small").is_file()
    assert load_model("small").name == "small"


@pytest.mark.parametrize("name", ["nobody", "../small", "", 3, "missing.keras"])
def test_models_that_do_not_exist(name):
    with pytest.raises(InputError, match=r"model|file"):
        load_model(name)


def test_files_that_are_no_models(tmp_path, model):
    (tmp_path / "text.keras").write_text("hello")
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    whole = save_model(tmp_path / "whole.keras", model).read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "other", "half"):
        with pytest.raises(InputError, match="not a model"):
            load_model(str(tmp_path / f"{name}.keras"))


def test_denormalizing_undoes_what_the_network_learns_in():
    S = np.array([0.3 - 0.4j, 2.0, 1e-5j])
    np.testing.assert_allclose(denormalize(normalize(S, 0.125), 0.125), S, rtol=1e-6)
