"""Smoothness, coherence and the learnable bandwidth against closed forms."""

import numpy as np
import pytest

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral
from nnss_utils.errors import InputError
from nnss_utils.evaluation import phase
from nnss_utils.instruments.pair import Pair, make_pair
from nnss_utils.midi import Note
from nnss_utils.scores import scale_sequence

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("step", [1, 16, 64])
def test_a_sine_in_a_bins_middle_turns_as_its_carrier_and_stands_still_heterodyned(step):
    k = 100
    sine = np.sin(2 * np.pi * k / 2048 * np.arange(2048 + 300 * step)).astype(np.float32)
    raw = Spectral(2048, step, heterodyne=False)
    assert phase.relative_change(sine, raw, 1.0)[k] == pytest.approx(phase.carrier_change(raw)[k], abs=1e-3)
    assert phase.relative_change(sine, Spectral(2048, step), 1.0)[k] < 1e-6


def test_noise_is_uncorrelated_from_one_frame_to_a_distant_one():
    noise = RNG.standard_normal(200_000).astype(np.float32)
    change = phase.relative_change(noise, Spectral(256, 256, "rectangular"), 1.0)
    assert np.mean(change) == pytest.approx(2, abs=0.05)


def test_stretches_make_no_difference(monkeypatch):
    sound = RNG.standard_normal(6000).astype(np.float32)
    whole = phase.relative_change(sound, Spectral(512, 32), 0.5)
    monkeypatch.setattr(phase, "STRETCH", 7)
    np.testing.assert_allclose(phase.relative_change(sound, Spectral(512, 32), 0.5), whole, rtol=1e-4)


def test_a_sound_too_short():
    with pytest.raises(InputError, match="two frames"):
        phase.relative_change(np.zeros(2048), Spectral(2048, 64), 1.0)


def test_a_sampled_piano_repeats_wholly(piano):
    found = phase.coherence(make_pair(scale_sequence(60, 62, 2, shortest=0.2, longest=0.5, sustained=0), piano))
    assert found.strikes == 12 and found.alone
    assert found.whole and found.learnable_hz() > 5000 and all(part > 0.999 for *_, part in found.bands())


@pytest.mark.parametrize("milliseconds", [0.05, 0.4])
def test_jitter_leaves_what_its_closed_form_says(milliseconds):
    """White strikes, moved: the part that repeats in each band is exp(-(2 pi f sigma)^2)."""
    strike = RNG.standard_normal(SAMPLE_RATE // 4).astype(np.float32)
    notes = [Note(0.5 * i + 0.1, 0.5 * i + 0.3, 60) for i in range(150)]
    audio = np.zeros(SAMPLE_RATE * 76, np.float32)
    for note in phase.jittered(notes, milliseconds):
        at = note.start * SAMPLE_RATE
        whole = round(at)
        spectrum = np.fft.rfft(strike) * np.exp(-2j * np.pi * np.fft.rfftfreq(len(strike)) * (at - whole))
        audio[whole : whole + len(strike)] = np.fft.irfft(spectrum, len(strike))
    found = phase.coherence(Pair(tuple(notes), audio, "x", "x"))
    for low, high, part in found.bands():
        expected = np.mean(phase.jitter_limit(np.linspace(low, high, 50), milliseconds))
        assert part == pytest.approx(expected, abs=0.09)
    half = np.sqrt(np.log(2)) / (2 * np.pi * milliseconds / 1000)
    assert half / 1.5 < found.learnable_hz() < 1.5 * half


def test_no_key_struck_twice_says_nothing():
    assert phase.coherence(Pair((Note(0.1, 1, 60), Note(1.5, 2, 61)), np.zeros(90_000, np.float32), "x", "x")) is None


def test_overlapping_strikes_serve_where_there_are_no_others(piano):
    notes = [Note(0.4 * i + d, 0.4 * i + d + 0.35, pitch) for i in range(6) for d, pitch in ((0.1, 60), (0.15, 64))]
    found = phase.coherence(make_pair(notes, piano))
    assert not found.alone and found.strikes == 12


def test_jitter_moves_but_keeps_lengths():
    notes = scale_sequence(60, 72, 4)
    moved = phase.jittered(notes, 0.4)
    moves = np.array([b.start - a.start for a, b in zip(notes, moved, strict=True)])
    assert np.std(moves) == pytest.approx(0.0004, rel=0.3)
    assert [round(n.duration, 9) for n in moved] == [round(n.duration, 9) for n in notes]
    assert phase.jittered([Note(0, 1, 60)], 1000)[0].start >= 0
