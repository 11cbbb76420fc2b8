"""STFT and its relatives against TensorFlow, SciPy and themselves."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils.dsp import demodulation
from nnss_utils.dsp.demodulation import carrier_factors, carriers, heterodyne, inverse_heterodyne
from nnss_utils.dsp.stft import (
    WINDOWS,
    Spectral,
    frame_count,
    istft,
    overlap_add,
    oversample,
    padding,
    stft,
    undersample,
    window_samples,
)
from nnss_utils.errors import InputError

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


def test_the_usual_settings():
    assert Spectral() == Spectral(2048, 256, "hann", 8.0, 1, True, 1024)
    assert (Spectral().rate, Spectral(oversampling=4).rate, Spectral(oversampling=4).bins) == (44100, 176400, 256)
    assert Spectral(16, 8, bins=9).bins == 9 and Spectral(65536, 256).bins == 32768
    assert Spectral(1024, 1, oversampling=16).bins == 32 and Spectral(kaiser_beta=0, window="kaiser").kaiser_beta == 0
    assert Spectral(1000, 940).frame_step == 940  # a ten thousandth of the energy is left where frames meet


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"frame_length": 14}, "frame_length=14 is out of range; give a value from 16 to 65536"),
        ({"frame_length": 65538}, "frame_length=65538 is out of range; give a value from 16 to 65536"),
        ({"frame_length": 512.0}, "frame_length=512.0 is float; give a whole number"),
        ({"oversampling": 0}, "oversampling=0 is out of range; give a value from 1 to 16"),
        ({"oversampling": 17}, "oversampling=17 is out of range"),
        ({"oversampling": 2.0}, "oversampling=2.0 is float; give a whole number"),
        ({"kaiser_beta": -0.1}, "kaiser_beta=-0.1 is out of range; give a value from 0 to 40"),
        ({"kaiser_beta": 40.1}, "kaiser_beta=40.1 is out of range; give a value from 0 to 40"),
        ({"frame_step": 0}, "frame_step=0 is out of range; give a value from 1 to 2048"),
        ({"frame_step": 2049}, "frame_step=2049 is out of range; give a value from 1 to 2048"),
        ({"frame_step": 64.0}, "frame_step=64.0 is float; give a whole number"),
        ({"bins": -1}, "bins=-1 is out of range; give a value from 0 to 1025"),
        ({"bins": 1026}, "bins=1026 is out of range; give a value from 0 to 1025"),
        ({"bins": 9.0}, "bins=9.0 is float; give a whole number"),
        ({"frame_length": 1002, "oversampling": 2}, "frame_length=1002 must be a multiple of 2 * oversampling = 4"),
        ({"frame_length": 1000, "frame_step": 960}, "frame_step=960 is too large for a hann window of 1000: samples"),
        ({"frame_length": 1000, "frame_step": 960}, "use a step of at most 500"),
    ],
)
def test_the_edges_of_what_is_allowed(bad, says):
    with pytest.raises(InputError) as caught:
        Spectral(**bad)
    assert says in str(caught.value)


def test_kept_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        window_samples(Spectral())[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        demodulation._unit_circle(64)[0] = 1


def test_frames_of_any_shape_are_windowed_scaled_and_transformed():
    spectral = Spectral(64, 16, bins=20)
    frames = np.random.default_rng(1).standard_normal((2, 3, 64)).astype(np.float32)
    expected = np.fft.rfft(frames * scipy.signal.get_window("hann", 64))[..., :20]
    found = stft(frames, spectral, pad=False)
    assert found.shape == (2, 3, 1, 20) and found.dtype == np.complex64
    np.testing.assert_allclose(found[..., 0, :], expected, atol=1e-5)
    scaled = stft(frames, spectral, pad=False, scaled=True)
    np.testing.assert_allclose(scaled[..., 0, :], spectral.scale * expected, atol=1e-5)
    assert scaled.dtype == np.complex64


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (63, 0), (64, 1), (79, 1), (80, 2), (200, 9)])
def test_frames_that_lie_inside_the_signal(samples, frames):
    spectral = Spectral(64, 16)
    S = stft(NOISE[:samples], spectral, pad=False)
    assert S.shape == (frames, 32)
    for number in range(frames):
        expected = np.fft.rfft(NOISE[16 * number :][:64] * scipy.signal.get_window("hann", 64))[:32]
        np.testing.assert_allclose(S[number], expected, atol=1e-5)


@pytest.mark.parametrize("step", [1, 5, 16, 48])
@pytest.mark.parametrize("samples", [1, 63, 64, 100])
def test_as_many_frames_as_counted_touch_the_signal(step, samples):
    spectral = Spectral(64, step)
    S = stft(NOISE[:samples], spectral)
    assert len(S) == frame_count(samples, spectral) == -(-(samples + padding(spectral)) // step)
    assert padding(spectral) % step == 0 and 0 <= padding(spectral) - (64 - step) < step


@pytest.mark.parametrize("count", [1, 2, 3, 4, 30])
@pytest.mark.parametrize(("length", "step"), [(64, 16), (64, 24), (64, 64), (64, 1)])
def test_overlap_add_is_the_least_squares_signal(count, length, step):
    """Few frames and many; and the end, where frames overlap less, is weighed as if they went on."""
    spectral = Spectral(length, step, "hamming")
    frames = np.random.default_rng(2).standard_normal((count, length))
    window = window_samples(spectral).astype(float)
    total = np.zeros((count + -(-length // step) - 1) * step)
    for number, frame in enumerate(frames):
        total[number * step : number * step + length] += frame * window
    padded = np.append(window**2, np.zeros(-length % step))
    energy = np.array([padded[first::step].sum() for first in range(step)])
    expected = total / np.resize(energy, len(total))
    result = overlap_add(frames, spectral)
    assert result.shape == expected.shape and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_frames_that_do_not_overlap_come_back_without_their_nyquist_bin():
    spectral = Spectral(64, 64, "hamming")
    frames = NOISE[:640].reshape(10, 64)
    alternating = (-1.0) ** np.arange(64)
    window = scipy.signal.get_window("hamming", 64)
    back = istft(stft(NOISE[:640], spectral), spectral, 640).reshape(10, 64)
    lost = (frames * window) @ alternating / 64
    np.testing.assert_allclose(back, frames - lost[:, None] * alternating / window, atol=1e-4)


def test_fewer_bins_are_a_low_pass_and_nothing_is_put_above_them():
    spectral = Spectral(256, 64, bins=32)
    t = np.arange(4000) / 44100
    low, high = np.sin(2 * np.pi * 2000 * t), np.sin(2 * np.pi * 15_000 * t)
    back = istft(stft(low + high, spectral), spectral, 4000)
    np.testing.assert_allclose(back[300:-300], low[300:-300], atol=0.01)


def test_carriers_are_their_formula_and_take_amplitudes():
    spectral, starts = Spectral(256, 64, bins=129), np.array([0, 3, 1000, -7])
    k = np.arange(129)
    expected = np.exp(-2j * np.pi * k * starts[:, None] / 256)
    np.testing.assert_allclose(carriers(spectral, starts), expected, atol=1e-5)
    amplitudes = np.array([1.0, 0.5, 0.0, 2.0])
    coarse, fine = carrier_factors(spectral, starts, amplitudes)
    product = (coarse[:, :, None] * fine[:, None, :]).reshape(4, -1)[:, :129]
    np.testing.assert_allclose(product, expected * amplitudes[:, None], atol=1e-5)
    S = stft(NOISE[:600], spectral)
    starts = 64 * np.arange(len(S))
    np.testing.assert_allclose(heterodyne(S, spectral), S * carriers(spectral, starts), atol=1e-5)
    np.testing.assert_allclose(inverse_heterodyne(S, spectral), S * carriers(spectral, starts).conj(), atol=1e-5)


def test_a_factor_of_one_is_no_resampling():
    assert oversample(NOISE, 1) is NOISE and undersample(NOISE, 1) is NOISE
