"""STFT and its relatives against TensorFlow, SciPy and themselves."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils.errors import InputError
from nnss_utils.spectral import (
    Spectral,
    frame_count,
    heterodyne,
    inverse_heterodyne,
    istft,
    oversample,
    stft,
    undersample,
    window_samples,
)
from nnss_utils.windows import WINDOWS

NOISE = np.random.default_rng(0).standard_normal(9000).astype(np.float32) * 0.3


@pytest.mark.parametrize("step", [1, 100, 256, 441, 512, 1024, 1500])
@pytest.mark.parametrize("window", WINDOWS)
def test_reconstruction_of_white_noise(window, step):
    sound = NOISE if step > 1 else NOISE[:3000]
    bins = 1025 if window == "rectangular" else 1024  # its dropped bin is lost: see below
    spectral = Spectral(2048, step, window, bins=bins)
    assert np.abs(istft(stft(sound, spectral), spectral, len(sound)) - sound).max() < 1e-5


@pytest.mark.parametrize("window", ["hamming", "rectangular"])
def test_reconstruction_without_overlap(window):
    spectral = Spectral(2048, 2048, window, bins=1025)
    assert np.abs(istft(stft(NOISE, spectral), spectral, len(NOISE)) - NOISE).max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(
    length=st.sampled_from([64, 256, 1000, 2048]),
    part=st.floats(0.01, 0.5),
    window=st.sampled_from(sorted(WINDOWS)),
    samples=st.integers(1, 5000),
    beta=st.floats(0, 14),
)
def test_reconstruction_of_any_length(length, part, window, samples, beta):
    spectral = Spectral(length, max(1, int(part * length)), window, kaiser_beta=beta, bins=length // 2 + 1)
    sound = NOISE[:samples]
    spectrogram = stft(sound, spectral)
    assert len(spectrogram) == frame_count(len(sound), spectral)
    assert np.abs(istft(spectrogram, spectral, len(sound)) - sound).max() < 1e-5


@pytest.mark.parametrize(("window", "step"), [("hann", 2048), ("blackman", 2048), ("kaiser", 2048)])
def test_steps_that_lose_samples_are_refused(window, step):
    with pytest.raises(InputError, match="frame_step"):
        Spectral(2048, step, window, kaiser_beta=8.0)


def test_a_rectangular_window_without_the_last_bin_loses_only_the_alternating_signal():
    spectral = Spectral(2048, 512, "rectangular")
    sound = oversample(NOISE, 2)  # nothing near Nyquist
    inner = slice(2048, -2048)
    assert np.abs(istft(stft(sound, spectral), spectral, len(sound)) - sound)[inner].max() < 1e-3


@pytest.mark.parametrize("window", WINDOWS)
def test_stft_is_tensorflows(window):
    spectral = Spectral(512, 128, window)
    expected = tf.signal.stft(NOISE, 512, 128, window_fn=lambda n, dtype: tf.constant(window_samples(spectral)))
    np.testing.assert_allclose(stft(NOISE, spectral, pad=False), expected[:, :256], atol=1e-4)


def test_inverse_is_tensorflows():
    spectral = Spectral(512, 128, bins=257)
    spectrogram = stft(NOISE, spectral)
    theirs = tf.signal.inverse_stft(spectrogram, 512, 128, window_fn=tf.signal.inverse_stft_window_fn(128))
    np.testing.assert_allclose(istft(spectrogram, spectral, len(NOISE)), theirs[384:][: len(NOISE)], atol=1e-5)


def test_windows_are_scipys_periodic_ones():
    for window, name in (("hann", "hann"), ("kaiser", ("kaiser", 5.0)), ("rectangular", "boxcar")):
        expected = scipy.signal.get_window(name, 512)
        np.testing.assert_allclose(window_samples(Spectral(512, 128, window, kaiser_beta=5.0)), expected, atol=1e-6)


def test_a_440_hz_sine_peaks_in_its_bin_at_its_amplitude():
    spectral = Spectral()
    sine = 0.25 * np.sin(2 * np.pi * 20 * np.arange(44100) / 2048)  # the middle of bin 20, 430.7 Hz
    magnitudes = np.abs(stft(sine, spectral, pad=False)) * spectral.scale
    assert np.argmax(magnitudes[10]) == 20 == round(430.66 / spectral.frequencies()[1])
    assert magnitudes[10, 20] == pytest.approx(0.25, rel=1e-3)


def test_heterodyne_stops_the_carrier_and_is_undone():
    spectral = Spectral(512, 100)
    sine = np.cos(2 * np.pi * 40 * np.arange(20_000) / 512)
    still = heterodyne(stft(sine, spectral, pad=False), spectral)
    np.testing.assert_allclose(still[1:, 40], still[:-1, 40], rtol=1e-3)
    raw = stft(NOISE, spectral)
    np.testing.assert_allclose(inverse_heterodyne(heterodyne(raw, spectral, 77), spectral, 77), raw, atol=1e-4)


def test_heterodyne_is_the_other_phase_convention():
    spectral = Spectral(256, 64)
    n, k = 3 * 64, np.arange(128)
    frame = NOISE[n : n + 256] * window_samples(spectral)
    from_zero = np.array([np.sum(frame * np.exp(-2j * np.pi * b * (n + np.arange(256)) / 256)) for b in k])
    np.testing.assert_allclose(heterodyne(stft(NOISE, spectral, pad=False), spectral)[3], from_zero, atol=1e-3)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_oversampling_keeps_every_frequency_and_is_undone(factor):
    t = np.arange(8820) / 44100
    for frequency in (1000, 10_000, 18_000):  # linear interpolation would lose 1.5 dB at 10 kHz
        sine = np.sin(2 * np.pi * frequency * t).astype(np.float32)
        finer = oversample(sine, factor)
        exact = np.sin(2 * np.pi * frequency * np.arange(len(finer)) / 44100 / factor)
        middle = slice(len(finer) // 4, -len(finer) // 4)
        assert np.abs(finer - exact)[middle].max() < 1e-3
        assert np.abs(undersample(finer, factor) - sine)[2000:-2000].max() < 1e-3


def test_oversampled_frames_keep_1024_bins():
    assert Spectral(8192, 1024, oversampling=4).bins == 1024
    assert Spectral(8192, 1024, oversampling=4).frequencies()[-1] == pytest.approx(22050 * 1023 / 1024)


@pytest.mark.parametrize(
    "bad",
    [
        {"frame_length": 0},
        {"frame_length": 2047},
        {"frame_step": 0},
        {"frame_step": 4096},
        {"window": "welch"},
        {"oversampling": 0},
        {"frame_length": 2048.0},
        {"heterodyne": "yes"},
        {"kaiser_beta": -1},
        {"oversampling": 3},
    ],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad)) if bad != {"oversampling": 3} else "multiple"):
        Spectral(**bad)
