"""The networks: sizes, shapes, and that they can learn; the losses; model files."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from nnss_utils.dsp.demodulation import heterodyne
from nnss_utils.dsp.normalization import denormalize, normalize
from nnss_utils.dsp.stft import WINDOWS, Spectral, overlap_add, stft, window_samples
from nnss_utils.errors import InputError
from nnss_utils.evaluation import metrics
from nnss_utils.instruments.modes import measure_modes
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.model import forward, losses, networks, pairs
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.model_file import find_model, load_model, model_names, save_model
from nnss_utils.model.networks import ARCHITECTURES, Architecture
from nnss_utils.model.pairs import as_pairs
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.model.time_basis import FEATURES, SINCE_OFF, SINCE_ON, note_features
from nnss_utils.training.dataset import make_dataset
from nnss_utils.training.loss_model import LossModel, normalized_rms
from nnss_utils.training.train import train


def test_the_seeds_network_has_its_52_million_parameters():
    assert networks.direct_blstm(2, 1000, 1024).count_params() == 52_498_048


@pytest.mark.parametrize("architecture", ["mask_dense", "mask_blstm"])
def test_mask_networks_give_two_complex_masks(architecture):
    network = ARCHITECTURES[architecture].build(2, 8, 32)
    inputs = [np.zeros((3, 5, 32)), np.zeros((3, 5, FEATURES)), np.full((3, 5), 60)]
    assert network(inputs).shape == (3, 5, 4 * 32)


DIRECT = [name for name, architecture in ARCHITECTURES.items() if not architecture.per_voice]


@pytest.mark.parametrize("architecture", DIRECT)
def test_direct_networks_give_real_and_imaginary_parts_and_can_be_saved(architecture, tmp_path):
    network = ARCHITECTURES[architecture].build(2, 8, 32)
    parts = np.random.default_rng(0).standard_normal((3, 5, 64)).astype(np.float32)
    real, imaginary = network(parts)
    assert real.shape == imaginary.shape == (3, 5, 32)
    assert network(parts[:, :3])[0].shape == (3, 3, 32)  # any number of frames
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(again(parts)[1], imaginary, atol=1e-6)


@pytest.mark.parametrize("architecture", ["direct_convolution", "direct_image_convolution", "direct_transformer"])
def test_networks_without_recurrence_see_other_frames_too(architecture):
    network = ARCHITECTURES[architecture].build(2, 8, 32)
    parts = np.random.default_rng(0).standard_normal((1, 5, 64)).astype(np.float32)
    changed = parts.copy()
    changed[:, 4] = 0
    assert not np.allclose(network(parts)[0][:, 3], network(changed)[0][:, 3])


def test_a_transformer_knows_where_a_frame_stands():
    network = networks.direct_transformer(1, 8, 32)
    real, _ = network(np.ones((1, 5, 64), np.float32))
    assert not np.allclose(real[:, 0], real[:, 3])


def test_complex_products_and_masks():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((4, 2)).astype(np.float32) for _ in range(2))
    product = np.asarray(pairs.complex_product(tf.constant(a), tf.constant(b)))
    np.testing.assert_allclose(
        product.view(np.complex64)[:, 0], a.view(np.complex64)[:, 0] * b.view(np.complex64)[:, 0], rtol=1e-5
    )


def test_known_masks_give_the_known_sound():
    """A network that always answers with tone mask 2j and impulse mask 3 turns its inputs as it should."""

    def constant(inputs):
        shape = (*inputs[0].shape[:-1], 1)
        return np.tile(np.tile(np.float32([0, 2, 3, 0]), 16), shape)

    rng = np.random.default_rng(0)
    tone = rng.standard_normal((1, 3, 16, 2)).astype(np.float32)
    coarse, fine = (rng.standard_normal((1, 3, 2, 4, 2)).astype(np.float32) for _ in range(2))
    product = np.einsum("...ij,...ik->...jk", *(x.view(np.complex64)[..., 0] for x in (coarse, fine)))
    impulse = np.ascontiguousarray(product).reshape(1, 3, 16, 1).view(np.float32)
    inputs = {"tone": tone, "coarse": coarse, "fine": fine, "features": None, "pitch": None}
    out = np.asarray(forward.predict_voices(constant, inputs, 0.5, 0.1)).view(np.complex64)[..., 0]
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
        value = LOSSES[name](tf.zeros((2, 1, 4, 2)), x)
    assert np.isfinite(value) and np.all(np.isfinite(tape.gradient(value, x)))


@pytest.mark.parametrize("bumps", [SINCE_ON, SINCE_OFF])
def test_a_line_of_bumps_is_any_slow_curve_of_time(bumps):
    """A decaying exponential and the window's own rise are linear in the bumps, to better than 40 dB."""
    seconds = np.concatenate([np.linspace(-0.03, 0.2, 400), np.geomspace(0.2, bumps.high, 400)])
    rows = bumps(seconds)
    assert rows.shape == (800, bumps.count) and np.all(np.isfinite(bumps(np.array([-1e4, 0.0, 1e4]))))
    curves = np.stack([np.exp(-np.maximum(seconds, 0) / 0.3), 0.5 + 0.5 * np.tanh(seconds / 0.023)], axis=1)
    error = curves - rows @ np.linalg.lstsq(rows, curves, rcond=None)[0]
    assert np.all(np.sqrt(np.mean(error**2, axis=0)) < 0.01)


def test_time_stands_still_at_the_longest_that_was_learnt():
    at, later = (note_features(np.array([s * 44100]), np.array([-44100]), 100, 2.0) for s in (2.0, 7.0))
    np.testing.assert_array_equal(at, later)
    assert at.shape == (1, FEATURES) and not np.allclose(
        at, note_features(np.array([44100]), np.array([-44100]), 100, 2)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_overfits_one_batch(pair, architecture):
    """Each architecture, from MIDI to loss: what it can't do on one batch it can't do at all."""
    settings = make_settings(
        name="overfit", architecture=architecture, layers=1, units=64, batch=4, frames=8, frame_length=512, holdout=0.0,
        power=0.5, learning_rate=3e-3,
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    tuning = measure_modes(pair.audio, pair.notes, estimate_tuning(pair.audio, pair.notes, 60, 64))
    sampler = make_dataset(pair.notes, pair.audio, settings, tuning)
    batch = sampler.batch(0)
    level = normalized_rms(batch.target, 0.5)
    trainer = LossModel(
        ARCHITECTURES[architecture].build(1, 64, settings.spectral.bins), settings, level, mixed=sampler.mixed
    )
    losses_seen = [float(trainer.train_on_batch(batch.inputs, batch.target)) for _ in range(250)]
    assert losses_seen[-1] < 0.1 * losses_seen[0]


def test_a_model_file_is_all_one_needs(model, tmp_path, piano):
    path = save_model(tmp_path / "copy.keras", model)
    loaded = load_model(str(path))
    assert (loaded.settings, loaded.tuning, loaded.output_scale) == (model.settings, model.tuning, model.output_scale)
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


def test_the_multi_scale_loss_is_the_measure():
    """On sounds long enough, the loss is the measure of the same name, made by NumPy."""
    rng = np.random.default_rng(0)
    y, p = (rng.standard_normal((1, 8192)).astype(np.float32) * scale for scale in (0.1, 0.2))
    assert float(losses.multi_scale(y, y)) == pytest.approx(0, abs=1e-5)
    assert float(losses.multi_scale(y, p)) == pytest.approx(metrics.multi_scale_loss(y[0], p[0]), rel=2e-2)


@pytest.mark.parametrize("name", SOUND_LOSSES)
def test_sound_losses_and_their_gradients_are_finite_at_silence(name):
    x = tf.Variable(np.zeros((2, 4096), np.float32))
    with tf.GradientTape() as tape:
        value = SOUND_LOSSES[name](tf.zeros((2, 4096)), x)
    assert np.isfinite(value) and np.all(np.isfinite(tape.gradient(value, x)))


@pytest.mark.parametrize("changes", [{}, {"frame_step": 1}, {"oversampling": 2}, {"window": "kaiser"}])
@pytest.mark.parametrize("heterodyned", [False, True])
def test_the_differentiable_inverse_gives_the_sound_back(heterodyned, changes):
    grid = Spectral(**{"frame_length": 512, "frame_step": 64} | changes)
    rng = np.random.default_rng(0)
    sound = np.convolve(rng.standard_normal(4096), np.hanning(32) / 16, "same").astype(np.float32)  # no highs
    start = np.array([0, 131])
    spectra = np.stack([stft(sound[at:], grid, pad=False)[:40] for at in start]) * np.float32(grid.scale)
    if heterodyned:
        spectra = np.stack([heterodyne(S, grid, at) for S, at in zip(spectra, start, strict=True)])
    made = np.asarray(pairs.istft_pairs(tf.constant(as_pairs(spectra)), grid, start if heterodyned else None))
    inside = slice(128, made.shape[1] - 128)  # where the window is above a tenth
    for row, at in zip(made, start, strict=True):
        np.testing.assert_allclose(row[inside], sound[at:][inside], atol=2e-3)


@pytest.mark.parametrize(("length", "step", "count"), [(512, 256, 9), (512, 100, 3), (512, 1, 4), (512, 500, 2)])
def test_added_frames_are_stft_s_overlap_add(length, step, count):
    grid, rng = Spectral(length, step, window="hamming"), np.random.default_rng(0)
    frames = rng.standard_normal((2, count, length)).astype(np.float32)
    made = np.asarray(pairs.overlap_add_frames(tf.constant(frames * window_samples(grid)), grid))
    for row, one in zip(made, frames, strict=True):
        np.testing.assert_allclose(row, overlap_add(one, grid), atol=1e-5)


def test_a_user_adds_a_loss_a_window_and_an_architecture_in_a_few_lines(pair, monkeypatch):
    def tiny(layers, units, bins):
        parts = keras.Input((None, 2 * bins))
        x = keras.layers.Dense(units, activation="tanh")(parts)
        return keras.Model(parts, [keras.layers.Dense(bins)(x), keras.layers.Dense(bins)(x)])

    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture(tiny, sequences=False, units=8, batch=16, frames=1))
    monkeypatch.setitem(LOSSES, "cubic", lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** 3))
    monkeypatch.setitem(WINDOWS, "sine", lambda length, beta: np.sin(np.pi * (np.arange(length) + 0.5) / length))
    settings = make_settings(architecture="tiny", loss="cubic", window="sine", steps=3)
    model = train(pair, settings)
    assert model.name == "tiny_windowsine_losscubic_steps3" and np.isfinite(model.training["train_loss"])
