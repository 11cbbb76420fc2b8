"""Measures against closed forms."""

import numpy as np
import pytest

from nnss_utils import metrics

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
    guess = metrics.griffin_lim(target, seed=0)
    assert len(guess) == len(target)
    np.testing.assert_array_equal(guess, metrics.griffin_lim(target, seed=0))
    levels = {b["low_hz"]: b["level_db"] for b in metrics.bands(target, guess)}
    assert abs(levels[250]) < 1
    same = metrics.true_magnitude_codification_phase(target, target)
    assert metrics.snr_db(target, same) > 60
