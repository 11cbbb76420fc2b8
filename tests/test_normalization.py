"""Power normalization: a round trip, finite everywhere, the same for arrays and tensors."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils.errors import InputError
from nnss_utils.normalization import denormalize, denormalize_pairs, normalize, normalize_pairs

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
