"""Nothing becomes NaN or infinite: any power, window, step and sound, forwards and in gradients, and in training."""

import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_settings
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnss_utils.dsp.demodulation import heterodyne, inverse_heterodyne
from nnss_utils.dsp.normalization import FLOOR, LOUDEST, denormalize, normalize
from nnss_utils.dsp.stft import WINDOWS, Spectral, istft, oversample, stft, undersample
from nnss_utils.errors import InputError
from nnss_utils.evaluation import metrics
from nnss_utils.evaluation.tradeoffs import with_error
from nnss_utils.instruments.pair import Pair
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import Note, midi_to_hz
from nnss_utils.model.codification import Codification, codify
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.model_file import load_model
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.model.pairs import denormalize_pairs, normalize_pairs
from nnss_utils.model.settings import make_settings
from nnss_utils.paths import RUNS, run_file
from nnss_utils.training import checkpoint, loss_model, train
from nnss_utils.training.loss_model import prepare

POWERS = st.one_of(st.floats(1 / 64, 1), st.just("log"), st.sampled_from([1.0, 1 / 2, 1 / 8, 1 / 64]))
DENORMAL = float(np.float32(1e-42))
SAMPLES = 6000
SOUNDS = {
    "silence": np.zeros(SAMPLES),
    "full scale": np.ones(SAMPLES),
    "full scale, the highest frequency": (-1.0) ** np.arange(SAMPLES),
    "square wave": np.sign(np.sin(np.arange(SAMPLES) / 20)),
    "impulse": np.eye(1, SAMPLES, 3000)[0],
    "denormal": np.full(SAMPLES, DENORMAL),
    "denormal noise": DENORMAL * np.random.default_rng(0).standard_normal(SAMPLES),
    "noise": np.random.default_rng(1).uniform(-1, 1, SAMPLES),
    "far too loud": 1e6 * np.random.default_rng(2).standard_normal(SAMPLES),
}


@settings(max_examples=120, deadline=None)
@given(
    sound=st.sampled_from(sorted(SOUNDS)), power=POWERS, window=st.sampled_from(sorted(WINDOWS)),
    length=st.sampled_from([16, 64, 512, 2048]), part=st.sampled_from([1, 2, 3, 4, 8, 100]),
    oversampling=st.sampled_from([1, 2, 4]), beta=st.floats(0, 40),
)  # fmt: skip
def test_there_and_back_is_finite_for_every_sound_power_window_and_step(
    sound, power, window, length, part, oversampling, beta
):
    try:
        spectral = Spectral(length, max(1, length // part), window, beta, oversampling)
    except InputError:
        assume(False)  # frames that lose samples are refused
    x = oversample(SOUNDS[sound].astype(np.float32), oversampling)[:20_000]
    S = stft(x, spectral) * np.float32(spectral.scale)
    N = normalize(heterodyne(S, spectral), power)
    assert np.isfinite(N).all()
    back = inverse_heterodyne(denormalize(N, power), spectral)
    assert np.isfinite(back).all()
    y = undersample(istft((back / spectral.scale).astype(np.complex64), spectral, len(x)), oversampling)
    assert np.isfinite(y).all()
    if sound == "silence":
        assert not y.any()


PAIRS = [0.0, DENORMAL, -DENORMAL, 1e-30, 1e-12, FLOOR, 1e-5, 0.1, 1.0, -3.0, LOUDEST, 1e9]


@settings(max_examples=60, deadline=None)
@given(power=POWERS)
def test_pairs_and_their_gradients_are_finite_at_zero_and_everywhere(power):
    pairs = tf.constant([(a, b) for a in PAIRS for b in PAIRS], tf.float32)
    for function in (normalize_pairs, denormalize_pairs):
        with tf.GradientTape() as tape:
            tape.watch(pairs)
            out = function(pairs, power)
        assert np.isfinite(out).all() and np.isfinite(tape.gradient(out, pairs)).all()


@settings(max_examples=60, deadline=None)
@given(power=POWERS, loudness=st.floats(0, 1e25))
def test_a_network_gone_wrong_is_loud_and_finite(power, loudness):
    values = np.array([loudness, -loudness * 1j, 0, loudness * (1 - 1j)], np.complex64)
    assert np.isfinite(denormalize(values, power)).all()
    pairs = values.view(np.float32).reshape(-1, 2)
    assert np.isfinite(denormalize_pairs(tf.constant(pairs), power)).all()


@pytest.mark.parametrize("power", [1.0, 0.5, 1 / 8, 1 / 64])
def test_what_is_louder_than_all_comes_back_up_to_the_loudest(power):
    S = np.array([LOUDEST, 0.5 * LOUDEST, 1.0], np.complex128)
    np.testing.assert_allclose(denormalize(normalize(S, power), power), S, rtol=1e-9)


@pytest.mark.parametrize("loss", [*LOSSES, *SOUND_LOSSES])
@pytest.mark.parametrize(("target", "prediction"), [(0, 0), (1, 0), (0, 1), (DENORMAL, DENORMAL), (1, 1), (0, 1e3)])
def test_losses_and_gradients_are_finite_where_magnitudes_are_zero(loss, target, prediction):
    shape = (2, 4, 32, 2) if loss in LOSSES else (2, 4096)
    y, p = (tf.fill(shape, tf.constant(x, tf.float32)) for x in (target, prediction))
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = (LOSSES | SOUND_LOSSES)[loss](y, p)
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, p)).all()


@pytest.mark.parametrize("target", sorted(SOUNDS))
@pytest.mark.parametrize("prediction", ["silence", "denormal", "square wave", "far too loud"])
def test_measures_of_any_two_sounds_are_numbers_that_json_can_hold(target, prediction):
    pair = [SOUNDS[name].astype(np.float32) for name in (target, prediction)]
    measures = metrics.measure(*pair, np.array([0.02]))
    json.dumps(measures, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(sound=st.sampled_from(sorted(SOUNDS)), power=POWERS, error=st.floats(-300, 60), relative=st.booleans())
def test_an_error_of_any_size_is_finite(sound, power, error, relative):
    x = SOUNDS[sound].astype(np.float32)
    assert np.isfinite(with_error(x, power, error, Spectral(512, 128), relative=relative)).all()


@pytest.mark.parametrize("kind", ["inharmonic", "two_sines"])
def test_codifications_are_finite_for_the_extremes_of_midi(kind):
    keys = range(128)
    tuning = Tuning(0, tuple(midi_to_hz(p) for p in keys), (3e-4,) * 128, ((),) * 128)
    notes = [Note(p / 1000, p / 1000 + (1e-5 if p % 2 else 0.2), p, 1 + p % 127) for p in keys]
    code = codify(notes, 20_000, Codification(kind, velocity=True, release=0.01), tuning)
    assert np.isfinite(code).all() and code.any()


def silent_but_for_a_click(pair) -> Pair:
    audio = np.zeros_like(pair.audio)
    audio[20_000:40_000] = DENORMAL
    for note in pair.notes:
        audio[round(note.start * 44100) + 500 :][:10] = 1.0
    return Pair(pair.notes, audio, "x", "a click")


@pytest.mark.parametrize(
    ("architecture", "power"),
    [*((name, 1 / 64) for name in ARCHITECTURES if "image" not in name), ("mask_keyed", 0.5), ("direct_blstm", "log")],
)
def test_a_step_on_silence_and_full_scale_keeps_every_weight_finite(pair, architecture, power):
    sizes = {"layers": 1, "units": 16, "batch": 16, "frames": 2, "steps": 3, "holdout": 0.0}
    chosen = make_settings(name="x", architecture=architecture, power=power, **sizes)
    trainer, sampler = prepare(silent_but_for_a_click(pair), chosen)
    for number in range(3):
        assert np.isfinite(float(trainer.step(sampler.batch(number))))
    assert all(np.isfinite(np.asarray(weight)).all() for weight in trainer.network.weights)


@pytest.mark.parametrize(("precision", "power"), [("mixed_float16", 1 / 8), ("mixed_bfloat16", 1.0)])
def test_mixed_precision_stays_finite(pair, precision, power):
    loud = Pair(pair.notes, np.clip(50 * pair.audio, -1, 1), pair.instrument, "loud")
    name = f"{precision}{power}"
    model = train.train(loud, small_settings(name=name, steps=30, precision=precision, power=power))
    assert np.isfinite(model.training["train_loss"]) and run_file(name).is_file()


def test_a_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(pair, monkeypatch, capsys):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0)
    trained, step = loss_model.LossModel.step, [0]

    def going_wrong(trainer, batch):
        step[0] += 1
        if step[0] == 15:  # one infinite gradient
            trainer.network.weights[0].assign(trainer.network.weights[0] * np.nan)
        return trained(trainer, batch)

    with monkeypatch.context() as patched:
        patched.setattr(loss_model.LossModel, "step", going_wrong)
        with pytest.raises(
            InputError, match=r"lower learning_rate|diverged at step 14: its loss is not a number; the last"
        ):
            train.train(pair, small_settings(name="wrong", steps=40))
    assert not run_file("wrong").exists()
    good = load_model("wrong")  # the checkpoint
    assert all(np.isfinite(np.asarray(weight)).all() for weight in good.network.weights)
    assert good.training["steps"] == 14
    train.train(pair, small_settings(name="wrong", steps=40))
    assert "resuming from step 14" in capsys.readouterr().out and not list((RUNS / "wrong").glob("checkpoint*"))


def test_a_loss_that_only_rises_is_a_divergence():
    chosen, progress = small_settings(learning_rate=0.5), checkpoint.Progress()
    train._read([1.0] * 10 + [2.0, 0.5] * 100, progress, chosen)
    train._read([90.0] * 100, progress, chosen)  # bad, and not yet out of hand
    with pytest.raises(
        InputError, match=r"diverged at step 410: its loss rose from 1 to 1e.04.*learning_rate below 0.5$"
    ):
        train._read([1e4] * 100, progress, chosen)
