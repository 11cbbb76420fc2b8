"""The attack panel against sounds whose attacks are known."""

import numpy as np
import pytest

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation import transients
from nnss_utils.evaluation.stretched import StretchedSampler
from nnss_utils.midi import Note


def octaves(piano):
    """A sampler with one recording an octave."""
    return StretchedSampler(piano, range(24, 109, 12), [100])


def burst(rise: float, silence: float = 0.1, seconds: float = 0.3) -> np.ndarray:
    """A noise whose envelope rises along a line of `rise` s and then falls slowly, after `silence`."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.minimum(t / rise, 1) * np.exp(-t) * np.sin(2 * np.pi * 3000 * t)
    return np.concatenate([np.zeros(round(silence * SAMPLE_RATE)), sound])


@pytest.mark.parametrize("rise", [0.005, 0.02, 0.05])
def test_the_rise_of_a_straight_line_is_eight_tenths_of_it(rise):
    assert transients.attack_seconds(burst(rise), 0.1) == pytest.approx(0.8 * rise, rel=0.1, abs=0.001)


def test_pre_echo_is_the_energy_before_over_that_after():
    sound = np.ones(SAMPLE_RATE)
    sound[: SAMPLE_RATE // 2] = 0.1
    assert transients.pre_onset_db(sound, np.array([0.5])) == pytest.approx(-20)
    assert transients.pre_onset_db(burst(0.01), np.array([0.1])) == -200


def test_strikes_that_are_alike_have_no_variance_and_noise_has_its_own():
    rng = np.random.default_rng(0)
    onsets = np.array([0.1, 0.5, 0.9])
    sound = np.zeros(2 * SAMPLE_RATE)
    for onset in onsets:
        first = round(onset * SAMPLE_RATE)
        sound[first : first + 9000] += burst(0.01, 0.0)[:9000]
    assert transients.repetition_db(sound, onsets) == -200
    level = np.sqrt(np.mean(burst(0.01, 0.0)[:4410] ** 2))
    noisy = sound + 0.1 * level * rng.standard_normal(len(sound))
    assert transients.repetition_db(noisy, onsets) == pytest.approx(-20 + 10 * np.log10(2 / 3), abs=0.5)


def test_the_thump_stays_put_on_a_piano_and_moves_in_a_sampler(piano):
    panel = transients.attack_panel(piano.render, [48, 60, 72])
    assert panel["thump_semitones"] == 0 and panel["pre_onset_db"] == -200 and panel["repetition_db"] == -200
    sampler = transients.attack_panel(octaves(piano).render, [48, 60, 72])
    assert sampler["thump_semitones"] == pytest.approx(3, abs=0.5)


def test_a_sparse_sampler_plays_the_right_pitches_at_the_right_time(piano):
    play = octaves(piano).render
    sound = play([Note(0.0, 0.5, 60), Note(1.0, 1.5, 69)])
    np.testing.assert_allclose(sound[:20000], piano.render([Note(0.0, 0.5, 60)])[:20000], atol=1e-6)
    part = sound[SAMPLE_RATE + 4096 :][:16384] * np.hanning(16384)
    assert np.argmax(np.abs(np.fft.rfft(part))[:700]) * SAMPLE_RATE / 16384 == pytest.approx(440, rel=0.01)
    assert not np.any(sound[SAMPLE_RATE - 2000 : SAMPLE_RATE - 64])
