"""Measures against closed forms, and against their definitions written out by NumPy, SciPy and librosa."""

from itertools import pairwise

import librosa
import numpy as np
import pytest
import scipy.signal

from nnss_utils.dsp.stft import Spectral, third_octave_edges
from nnss_utils.evaluation import baselines, metrics

RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal(3 * 44100).astype(np.float32) * 0.1
OTHER = RNG.standard_normal(3 * 44100).astype(np.float32) * 0.1
ONSETS = np.array([0.5, 1.0, 2.0])


def sine(frequency, seconds=2.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * 44100)) / 44100)).astype(np.float32)


def test_a_perfect_prediction():
    result = metrics.measure(NOISE, NOISE, ONSETS)
    assert result["correlation"] == pytest.approx(1) and result["snr_db"] > 150
    assert result["bandwidth_hz"] == 20000
    assert max(result["attack_lsd_db"], result["sustain_lsd_db"], result["multi_scale_loss"]) < 1e-5
    for band in result["bands"]:
        assert band["snr_db"] > 100 and band["lsd_db"] < 1e-5 and band["level_db"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gain_db", [-6.0, 3.0])
def test_a_gain_is_a_level_an_lsd_and_an_snr(gain_db):
    gain = 10 ** (gain_db / 20)
    result = metrics.measure(NOISE, NOISE * np.float32(gain), ONSETS)
    assert result["correlation"] == pytest.approx(1)
    assert result["snr_db"] == pytest.approx(-20 * np.log10(abs(1 - gain)), abs=0.01)
    for band in result["bands"]:
        assert band["level_db"] == pytest.approx(gain_db, abs=0.01)
        assert band["lsd_db"] == pytest.approx(abs(gain_db), abs=0.05)
        assert band["snr_db"] == pytest.approx(result["snr_db"], abs=0.01)
    assert result["attack_lsd_db"] == pytest.approx(abs(gain_db), abs=0.05)


def test_an_independent_signal_of_equal_level_has_minus_3_db():
    result = metrics.measure(NOISE, OTHER, ONSETS)
    assert abs(result["correlation"]) < 0.02 and result["snr_db"] == pytest.approx(-3.0, abs=0.1)
    assert result["bandwidth_hz"] == 0


def test_silence_scores_0_db_and_the_floor_bounds_its_lsd():
    result = metrics.measure(NOISE, np.zeros_like(NOISE), ONSETS)
    assert result["correlation"] == 0 and result["snr_db"] == pytest.approx(0)
    assert all(0 < band["lsd_db"] <= 80 and band["level_db"] == -200 for band in result["bands"])


def test_a_polarity_flip_is_heard_by_waveforms_only():
    result = metrics.measure(NOISE, -NOISE, ONSETS)
    assert result["correlation"] == pytest.approx(-1) and result["snr_db"] == pytest.approx(-6.02, abs=0.01)
    assert result["attack_lsd_db"] == pytest.approx(0, abs=1e-6)


def test_bands_tell_where_the_error_is():
    target = sine(700) + sine(3000)
    bands = metrics.bands(target, sine(700) + sine(3000) * np.float32(0.5))
    by_low = {band["low_hz"]: band for band in bands}
    assert by_low[500]["snr_db"] > 40
    assert by_low[2000]["snr_db"] == pytest.approx(6.02, abs=0.1) and by_low[2000]["level_db"] == pytest.approx(
        -6.02, abs=0.1
    )
    assert [(b["low_hz"], b["high_hz"]) for b in bands][-2:] == [(8000, 16000), (16000, 20000)]


def test_bandwidth_is_where_the_prediction_ends():
    spectrum = np.fft.rfft(NOISE)
    cut = 100 * 2 ** (15 / 3)  # 3200 Hz, an edge of a third of an octave
    spectrum[np.fft.rfftfreq(len(NOISE), 1 / 44100) > cut] = 0
    low = np.fft.irfft(spectrum, len(NOISE)).astype(np.float32)
    assert metrics.bandwidth_hz(NOISE, low) == pytest.approx(cut)
    assert metrics.bandwidth_hz(low, low) < 4100  # nothing to be heard above: it doesn't count
    assert metrics.bandwidth_hz(NOISE, NOISE * np.float32(0.4)) == 0  # -8 dB is too far off


def test_attacks_are_the_40_ms_after_an_onset():
    changed = NOISE.copy()
    for onset in ONSETS:
        changed[round(onset * 44100) : round((onset + 0.04) * 44100)] *= 0.5
    attack, sustain = metrics.attack_sustain_lsd_db(NOISE, changed, ONSETS)
    assert attack == pytest.approx(6, abs=0.5) and sustain < 1.5
    attack, sustain = metrics.attack_sustain_lsd_db(NOISE, changed, np.array([]))
    assert attack == 0 and sustain > 0


def test_multi_scale_loss_is_ddsps_formula():
    total = 0.0
    for size in (2048, 1024, 512, 256, 128, 64):
        window = np.hanning(size + 1)[:-1]
        frames = [
            np.abs(
                np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), size)[:: size // 4] * window)
            )
            for x in (NOISE[:20_000], OTHER[:20_000])
        ]
        total += np.mean(np.abs(frames[0] - frames[1]))
        total += np.mean(np.abs(np.log(frames[0] + 1e-5) - np.log(frames[1] + 1e-5)))
    assert metrics.multi_scale_loss(NOISE[:20_000], OTHER[:20_000]) == pytest.approx(total, rel=1e-3)


def test_stretches_don_t_change_the_measures(monkeypatch):
    whole = metrics.measure(NOISE, OTHER, ONSETS)
    monkeypatch.setattr(metrics, "_STRETCH", 37)
    parts = metrics.measure(NOISE, OTHER, ONSETS)
    assert parts["bands"][3]["lsd_db"] == pytest.approx(whole["bands"][3]["lsd_db"])
    assert parts["attack_lsd_db"] == pytest.approx(whole["attack_lsd_db"])
    assert parts["multi_scale_loss"] == pytest.approx(whole["multi_scale_loss"])


def test_lengths_may_differ_and_short_sounds_are_measured():
    assert metrics.measure(NOISE, NOISE[:-500], ONSETS)["snr_db"] > 20
    assert np.isfinite(metrics.measure(NOISE[:100], OTHER[:100], ONSETS)["multi_scale_loss"])


def test_griffin_lim_keeps_magnitudes_and_loses_the_waveform():
    target = sine(440) + 0.3 * sine(1320)
    guess = baselines.griffin_lim(target, seed=0)
    assert len(guess) == len(target)
    np.testing.assert_array_equal(guess, baselines.griffin_lim(target, seed=0))
    levels = {b["low_hz"]: b["level_db"] for b in metrics.bands(target, guess)}
    assert abs(levels[250]) < 1
    same = baselines.true_magnitude_codification_phase(target, target)
    assert metrics.snr_db(target, same) > 60


def reference_stft(x, length, step):
    """Return the spectrogram (frames, bins) of the frames that lie in a sound, by SciPy's window and NumPy's FFT."""
    x = np.pad(x, (0, max(0, length - len(x)))).astype(np.float64)
    count = 1 + (len(x) - length) // step
    window = scipy.signal.get_window("hann", length)
    return np.stack([np.fft.rfft(x[i * step : i * step + length] * window) for i in range(count)])


def reference_levels(target, prediction, length, step):
    """Return both spectrograms' levels in dB, floored 80 dB below the target's strongest bin."""
    Y, P = (np.abs(reference_stft(x, length, step)) ** 2 for x in (target, prediction))
    floor = Y.max() * 1e-8
    return [10 * np.log10(np.maximum(S, floor)) for S in (Y, P)]


def coloured(seed, samples, tilt=1.0):
    """Return noise whose spectrum falls by about 6 dB an octave times `tilt`, so that some bins lie below the floor."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= (1 + np.arange(len(spectrum)) * 44100 / samples / 50) ** tilt
    sound = np.fft.irfft(spectrum, samples)
    return sound / np.abs(sound).max()


def unlike_pair(samples=30_000):
    target = coloured(0, samples, 2.2).astype(np.float32)
    prediction = (0.8 * target + 0.1 * coloured(1, samples, 1.2)).astype(np.float32)
    return target, prediction


OCTAVES = [20, 250, 500, 1000, 2000, 4000, 8000, 16000, 20000]


def test_bands_are_their_definition():
    target, prediction = unlike_pair()
    Y, P = (reference_stft(x, 2048, 512) for x in (target, prediction))
    y, p = reference_levels(target, prediction, 2048, 512)
    hz = np.arange(1025) * 44100 / 2048
    rows = metrics.bands(target, prediction)
    assert [(row["low_hz"], row["high_hz"]) for row in rows] == list(pairwise(OCTAVES))
    for row in rows:
        of = (hz >= row["low_hz"]) & (hz < row["high_hz"])
        power = [np.sum(np.abs(S[:, of]) ** 2) for S in (Y, Y - P, P)]
        assert row["snr_db"] == pytest.approx(10 * np.log10(power[0] / power[1]), abs=1e-3)
        assert row["level_db"] == pytest.approx(10 * np.log10(power[2] / power[0]), abs=1e-3)
        assert row["lsd_db"] == pytest.approx(np.sqrt(np.mean((y[:, of] - p[:, of]) ** 2)), abs=1e-3)
    assert np.ptp([row["lsd_db"] for row in rows]) > 1


def test_bins_on_an_edge_belong_to_the_band_above(monkeypatch):
    """Bin 100 alone sounds, and an edge is put exactly there."""
    hz = 44100 / 2048
    monkeypatch.setattr(metrics, "OCTAVES", (50 * hz, 100 * hz, 150 * hz))
    monkeypatch.setattr(metrics, "third_octave_edges", lambda: np.array([50, 100, 150]) * hz)
    tone = np.cos(2 * np.pi * 100 * np.arange(8192) / 2048).astype(np.float32)
    kept = Spectral(2048, 512, "rectangular", bins=1025)
    monkeypatch.setattr(metrics, "_all_bins", lambda length, step: kept)  # no leakage into other bins
    other = np.cos(2 * np.pi * 120 * np.arange(8192) / 2048).astype(np.float32)
    below, above = metrics.bands(tone, tone + other)
    assert above["level_db"] == pytest.approx(3.01, abs=0.01) and above["snr_db"] == pytest.approx(0, abs=0.01)
    assert abs(below["level_db"]) < 200  # nothing but rounding is there
    energies = metrics.third_octave_energies(tone)
    assert energies[1] > 1e3 and energies[0] < 1e-3 * energies[1]


def test_the_whole_lsd_and_the_attacks_are_their_definition():
    target, prediction = unlike_pair()
    y, p = reference_levels(target, prediction, 2048, 512)
    assert metrics.lsd_db(target, prediction) == pytest.approx(np.sqrt(np.mean((y - p) ** 2)), abs=1e-3)
    onsets = np.array([0.35, 0.1])
    y, p = reference_levels(target, prediction, 512, 64)
    middle = (np.arange(len(y)) * 64 + 256) / 44100
    attack = np.any([(middle >= onset) & (middle < onset + 0.04) for onset in onsets], axis=0)
    expected = [np.sqrt(np.mean((y - p)[of] ** 2)) for of in (attack, ~attack)]
    assert metrics.attack_sustain_lsd_db(target, prediction, onsets) == pytest.approx(expected, abs=1e-3)
    assert metrics.attack_sustain_lsd_db(target, prediction, np.zeros(0))[0] == 0
    assert metrics.lsd_floor(target, metrics._all_bins(512, 64)) == pytest.approx(
        1e-8 * np.max(np.abs(reference_stft(target, 512, 64)) ** 2), rel=1e-5
    )


def test_thirds_of_octaves_are_summed_from_100_hz_to_20_khz():
    edges = third_octave_edges()
    assert edges[0] == 100 and edges[-1] == 20_000 and len(edges) == 24
    np.testing.assert_allclose(edges[1:-1] / edges[:-2], 2 ** (1 / 3))
    target = unlike_pair()[0]
    Y, hz = np.abs(reference_stft(target, 2048, 512)) ** 2, np.arange(1025) * 44100 / 2048
    expected = [Y[:, (hz >= low) & (hz < high)].sum() for low, high in pairwise(edges)]
    np.testing.assert_allclose(metrics.third_octave_energies(target), expected, rtol=1e-4)


def test_what_ends_a_bandwidth():
    """A level more than 6 dB off, or an SNR of 0 dB and less; bands 60 dB below the strongest don't count."""
    target = coloured(3, 44100, 0.5)
    hz = np.fft.rfftfreq(44100, 1 / 44100)

    def with_gain_above(gain, edge):
        return np.fft.irfft(np.fft.rfft(target) * np.where(hz > edge, gain, 1)).astype(np.float32)

    sound = target.astype(np.float32)
    edges = third_octave_edges()
    after = edges[np.searchsorted(edges, 3000) + 1]  # the first edge above the next whole band
    whole = metrics.bandwidth_hz(sound, sound)
    assert whole == 20_000
    assert metrics.bandwidth_hz(sound, with_gain_above(0.55, 3000)) == whole  # -5.2 dB
    assert 2500 < metrics.bandwidth_hz(sound, with_gain_above(0.45, 3000)) < after  # -6.9 dB
    assert metrics.bandwidth_hz(sound, with_gain_above(1.9, 3000)) == whole  # +5.6 dB, SNR 0.9 dB
    assert 2500 < metrics.bandwidth_hz(sound, with_gain_above(2.1, 3000)) < after  # +6.4 dB
    assert 2500 < metrics.bandwidth_hz(sound, with_gain_above(-1, 3000)) < after  # the level is right, the SNR not
    assert metrics.bandwidth_hz(sound, -sound) == 0 and metrics.bandwidth_hz(sound, 2 * sound) == 0  # 0 dB exactly
    faint = with_gain_above(1e-4, 3000)
    assert 2500 < metrics.bandwidth_hz(faint, faint) < after < metrics.bandwidth_hz(faint, faint, 100) == 20_000
    hole = np.fft.irfft(np.fft.rfft(target) * np.where((hz > 1000) & (hz < 2000), 1e-5, 1)).astype(np.float32)
    assert metrics.bandwidth_hz(hole, hole) == 20_000  # faint bands below don't end it


def test_the_map_of_errors_is_made_of_octaves_and_stretches():
    t = np.arange(44100) / 44100
    low, high = np.sin(2 * np.pi * 350 * t), np.where(t < 0.25, np.sin(2 * np.pi * 3000 * t), 0)
    times = np.array([0.0, 0.1, 0.25, 0.5, 0.9])
    target, error = metrics.snr_map(low + high, low, times)
    assert target.shape == error.shape == (8, 4)
    lengths = np.diff(times) * 44100 / 2  # energy of a sine of amplitude 1
    np.testing.assert_allclose(target[1], lengths, rtol=0.05)
    np.testing.assert_allclose(target[4, :2], lengths[:2], rtol=0.05)
    np.testing.assert_allclose(error[4, :2], lengths[:2], rtol=0.05)
    assert error[1].max() < 1e-3 * lengths.min() and error[4, 2:].max() < 0.01 * lengths[2]
    sections = scipy.signal.butter(4, (2000, 4000), "bandpass", fs=44100, output="sos")
    part = scipy.signal.sosfiltfilt(sections, np.pad(low + high, 4410))[4410:]
    np.testing.assert_allclose(target[4, 1], np.sum(part[4410:11025] ** 2), rtol=1e-9)


def test_ratios_are_bounded_and_lengths_made_alike():
    assert metrics.ratio_db(1, 0) == 200 and metrics.ratio_db(0, 1) == -200 and metrics.ratio_db(0, 0) == 0
    assert metrics.ratio_db(1e3, 1) == pytest.approx(30)
    target, prediction = unlike_pair()
    onsets = np.array([0.1])
    padded = np.concatenate([prediction[:20_000], np.zeros(10_000, np.float32)])
    assert metrics.measure(target, prediction[:20_000], onsets) == metrics.measure(target, padded, onsets)
    assert metrics.measure(target, np.append(prediction, np.ones(500)), onsets) == metrics.measure(
        target, prediction, onsets
    )
    counts = [Y.shape for _, Y, _ in metrics.spectra(target[:3000], prediction[:3000], metrics._all_bins(512, 64))]
    assert counts == [(39, 257)] and reference_stft(target[:3000], 512, 64).shape == (39, 257)


def test_references_are_librosas():
    target, code = unlike_pair(12_000)
    Y, C = (librosa.stft(x, n_fft=2048, hop_length=512) for x in (target, code))
    mixed = librosa.istft(np.abs(Y) * np.exp(1j * np.angle(C)), length=12_000, n_fft=2048, hop_length=512)
    np.testing.assert_allclose(baselines.true_magnitude_codification_phase(target, code), mixed, atol=1e-6)
    found = librosa.griffinlim(np.abs(Y), n_iter=32, hop_length=512, n_fft=2048, length=12_000, random_state=0)
    np.testing.assert_array_equal(baselines.griffin_lim(target), found)
