"""Costs, pre-echo, reconstruction and resamplers against closed forms."""

import numpy as np
import pytest

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral, oversample
from nnss_utils.evaluation import tradeoffs

NOISE = np.random.default_rng(0).standard_normal(SAMPLE_RATE // 2).astype(np.float32) * 0.1


def test_costs_in_closed_form():
    grid = Spectral(2048, 256)
    assert tradeoffs.frames_per_second(grid) == pytest.approx(172.27, abs=0.01)
    assert tradeoffs.stft_operations(grid) == pytest.approx(172.265625 * 2.5 * 2048 * 11)
    assert tradeoffs.frames_per_second(Spectral(8192, 1, oversampling=4)) == 4 * SAMPLE_RATE


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_nothing_audible_is_lost_by_oversampling_with_1024_bins(factor):
    grid = Spectral(2048 * factor, 256 * factor, oversampling=factor)
    assert grid.bins == 1024
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    sound = sum(np.sin(2 * np.pi * f * t) for f in (100, 1000, 10_000, 19_000)) * np.hanning(len(t))
    assert tradeoffs.reconstruction_db(sound.astype(np.float32), grid) > 60


def test_longer_frames_sound_longer_before_the_onset():
    sound = np.concatenate([np.zeros(SAMPLE_RATE // 4), NOISE]).astype(np.float32)
    echoes = [tradeoffs.pre_echo_db(sound, 0.25, Spectral(n, n // 4)) for n in (512, 2048, 8192)]
    assert echoes[0] < echoes[1] < echoes[2] < 0
    exact = tradeoffs.pre_echo_db(sound, 0.25, Spectral(2048, 512), error_db=-150)
    assert exact < -80  # without an error there is no pre-echo


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_linear_interpolation_loses_what_its_closed_form_says(factor):
    """A triangle of two samples in time is a squared sinc in frequency; between its points only for large factors."""
    f = np.array([100.0, 10_000.0, 20_000.0])
    x = f / SAMPLE_RATE
    exact = np.sinc(x) ** 2 / np.sinc(x / factor) ** 2  # the discrete triangle
    measured = tradeoffs.response_db(tradeoffs.oversample_linearly, f, factor)
    np.testing.assert_allclose(measured, 20 * np.log10(exact), atol=0.05)
    proper = tradeoffs.response_db(oversample, np.array([100.0, 10_000.0, 19_900.0]), factor)
    np.testing.assert_allclose(proper, 0, atol=0.02)


def test_linear_interpolation_leaves_images_and_a_resampler_does_not():
    tone = np.sin(2 * np.pi * 15_000 / SAMPLE_RATE * np.arange(SAMPLE_RATE // 2)).astype(np.float32)
    tone *= np.hanning(len(tone)).astype(np.float32)
    assert tradeoffs.images_db(tradeoffs.oversample_linearly, tone, 4) > -20
    assert tradeoffs.images_db(oversample, tone, 4) < -80
