"""Power normalization: a round trip, finite everywhere, the same for arrays and tensors."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils.dsp.normalization import denormalize, normalize
from nnss_utils.dsp.stft import Spectral, stft
from nnss_utils.errors import InputError
from nnss_utils.evaluation.tradeoffs import with_error
from nnss_utils.model.pairs import denormalize_pairs, normalize_pairs

NUMBERS = (1.0, 0.5, 0.25, 0.125, 1 / 16, 1 / 32)
POWERS = (*NUMBERS, "log")


@settings(max_examples=50, deadline=None)
@given(power=st.sampled_from(NUMBERS), magnitude=st.floats(1e-6, 1e4), angle=st.floats(-3.1, 3.1))
def test_round_trip_and_closed_form(power, magnitude, angle):
    S = np.array([magnitude * np.exp(1j * angle)])
    N = normalize(S, power)
    np.testing.assert_allclose(np.abs(N), magnitude**power, rtol=1e-9)
    np.testing.assert_allclose(np.angle(N), angle, atol=1e-9)
    np.testing.assert_allclose(denormalize(N, power), S, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(magnitude=st.floats(1e-6, 1e4), angle=st.floats(-3.1, 3.1))
def test_the_logarithm_and_back(magnitude, angle):
    S = np.array([magnitude * np.exp(1j * angle)])
    N = normalize(S, "log")
    np.testing.assert_allclose(np.abs(N), np.log1p(magnitude * 1e5) / np.log1p(1e5), rtol=1e-9)
    np.testing.assert_allclose(np.angle(N), angle, atol=1e-9)
    np.testing.assert_allclose(denormalize(N, "log"), S, rtol=1e-6)


def test_powers_tend_to_the_logarithm():
    """Of levels between -60 and 0 dB: the smaller the power, the more |S|^p is a straight line over dB."""
    S = 10 ** (np.linspace(-60, 0, 20) / 20)

    def bend(power):
        N = normalize(S, power).real
        line = np.linspace(N[0], N[-1], 20)
        return np.abs(N - line).max() / (N[-1] - N[0])

    assert bend(1 / 2) > bend(1 / 8) > bend(1 / 32) > bend("log")


@pytest.mark.parametrize("power", POWERS)
def test_silence_stays_silence(power):
    zeros = np.zeros(3, np.complex64)
    assert not normalize(zeros, power).any() and not denormalize(zeros, power).any()


@pytest.mark.parametrize("power", POWERS)
def test_tensors_are_the_arrays(power):
    rng = np.random.default_rng(0)
    S = (rng.standard_normal(50) + 1j * rng.standard_normal(50)).astype(np.complex64)
    pairs = S.view(np.float32).reshape(-1, 2)
    np.testing.assert_allclose(
        np.asarray(normalize_pairs(tf.constant(pairs), power)).view(np.complex64)[:, 0],
        normalize(S, power),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        np.asarray(denormalize_pairs(tf.constant(pairs), power)).view(np.complex64)[:, 0],
        denormalize(S, power),
        rtol=1e-3,
        atol=1e-7,
    )


@pytest.mark.parametrize("function", [normalize_pairs, denormalize_pairs])
@pytest.mark.parametrize("power", POWERS)
def test_gradients_are_finite_at_and_around_zero(function, power):
    x = tf.Variable([[0.0, 0.0], [1e-30, 0.0], [1e-10, -1e-10], [1.0, -2.0]])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(function(x, power))
    assert np.all(np.isfinite(tape.gradient(y, x))) and np.isfinite(y)


@pytest.mark.parametrize("power", [0, -1, 2, "0.5", "", "LOG", True, float("nan")])
def test_powers_that_cannot_normalize_are_refused(power):
    with pytest.raises(InputError, match="power"):
        normalize(np.ones(1, complex), power)


@pytest.mark.parametrize("power", NUMBERS)
def test_what_is_fainter_than_the_floor_is_scaled_as_the_floor_and_comes_back(power):
    """Below the floor both ways are straight lines, which undo each other."""
    S = np.array([1e-10, 1e-9 * (1 - 1j), 1e-20j], np.complex128)
    np.testing.assert_allclose(normalize(S, power), S * 1e-8 ** (power - 1), rtol=1e-9)
    np.testing.assert_allclose(denormalize(normalize(S, power), power), S, rtol=1e-9)
    pairs = np.array([[1e-10, 0], [1e-9, -1e-9], [0, 1e-12]], np.float32)
    back = denormalize_pairs(normalize_pairs(tf.constant(pairs), power), power)
    np.testing.assert_allclose(back, pairs, rtol=1e-3, atol=1e-16)


@pytest.mark.parametrize("power", POWERS)
def test_pairs_of_any_shape_are_normalized_along_their_last_axis(power):
    rng = np.random.default_rng(1)
    S = (rng.standard_normal((3, 4, 5)) + 1j * rng.standard_normal((3, 4, 5))).astype(np.complex64)
    pairs = np.stack([S.real, S.imag], axis=-1)
    for function, expected in ((normalize_pairs, normalize(S, power)), (denormalize_pairs, denormalize(S, power))):
        found = np.asarray(function(tf.constant(pairs), power))
        np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, rtol=2e-3, atol=1e-5)


FRAMES = Spectral(512, 512, "rectangular", bins=257)  # frames that share nothing: an error stays where it is


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("error_db", [-20.0, -40.0])
def test_an_error_has_the_size_that_it_is_given(relative, error_db):
    sound = np.random.default_rng(2).standard_normal(512 * 200).astype(np.float32)
    sound[: 512 * 100] = 0
    heard = with_error(sound, 1.0, error_db, FRAMES, relative=relative)
    error = heard - sound
    snr = 10 * np.log10(np.sum(sound**2) / np.sum(error**2))
    assert snr == pytest.approx(-error_db, abs=0.2)
    silent = np.abs(error[512 : 512 * 99]).max()  # where the sound is silent
    assert silent == 0 if relative else silent > 0.5 * np.std(error)


def test_an_error_is_normal_of_its_seed_and_absolute_unless_said():
    sound = np.random.default_rng(3).standard_normal(512 * 50).astype(np.float32)
    plain = with_error(sound, 0.5, -20, FRAMES)
    np.testing.assert_array_equal(plain, with_error(sound, 0.5, -20, FRAMES, 0, relative=False))
    assert np.abs(plain - with_error(sound, 0.5, -20, FRAMES, 1)).max() > 0.01
    assert plain.dtype == np.float32 and len(plain) == len(sound)
    S = normalize(stft(sound, FRAMES) * np.float32(FRAMES.scale), 0.5)
    N = normalize(stft(plain, FRAMES) * np.float32(FRAMES.scale), 0.5) - S
    inside = N[1:-1, 1:-1]
    size = np.sqrt(np.mean(np.abs(S) ** 2)) * 10 ** (-20 / 20)
    assert np.sqrt(np.mean(np.abs(inside) ** 2)) == pytest.approx(size, rel=0.02)
    assert np.mean(inside.real**2) == pytest.approx(np.mean(inside.imag**2), rel=0.05)
    with pytest.raises(InputError, match="error_db=61"):
        with_error(sound, 0.5, 61, FRAMES)
    with pytest.raises(InputError, match="error_db=-301"):
        with_error(sound, 0.5, -301, FRAMES)
