"""The stretched sampler: the recording itself where there is one, resampled and crossfaded elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnss_utils.evaluation.stretched import StretchedSampler
from nnss_utils.instruments.dynamics import crossfade
from nnss_utils.midi import Note


class Sines:
    """An instrument of pure tones that has two timbres: above velocity 80 it plays the octave."""

    name, low, high, grid = "sines", 21, 108, 1

    def render(self, notes):
        (note,) = notes
        t = np.arange(round(44100 * note.duration)) / 44100
        hz = 440 * 2 ** ((note.pitch - 69) / 12) * (2 if note.velocity > 80 else 1)
        return (note.velocity / 127 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def peak_hz(sound):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**18))
    return np.argmax(spectrum) * 44100 / 2**18


def test_a_recorded_note_is_itself():
    sampler = StretchedSampler(Sines(), [60, 69], [40, 100])
    note = Note(0.0, 0.5, 69, 40)
    np.testing.assert_array_equal(sampler.render([note]), Sines().render([note]))
    later = sampler.render([Note(0.25, 0.75, 69, 40)])
    np.testing.assert_array_equal(later[11025:], Sines().render([note]))


def test_other_keys_are_the_nearest_one_resampled():
    sampler = StretchedSampler(Sines(), [60, 69], [40])
    for pitch in (57, 62, 68, 71):
        sound = sampler.render([Note(0.0, 0.5, pitch, 40)])
        assert peak_hz(sound) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), abs=0.5)
        assert len(sound) == pytest.approx(22050, abs=2)


def test_velocities_between_are_crossfaded():
    sampler, note = StretchedSampler(Sines(), [69], [40, 100]), Note(0.0, 0.5, 69, 55)
    soft, loud = (Sines().render([Note(0.0, 0.5, 69, velocity)]) for velocity in (40, 100))
    np.testing.assert_allclose(sampler.render([note]), 0.75 * soft + 0.25 * loud, atol=1e-6)


@given(st.integers(1, 127), st.sets(st.integers(1, 127), min_size=1))
def test_shares_are_of_the_nearest_velocities_and_make_one(velocity, recorded):
    shares = crossfade(velocity, sorted(recorded))
    assert sum(share for _, share in shares) == pytest.approx(1) and {v for v, _ in shares} <= recorded
    inside = min(recorded) <= velocity <= max(recorded)
    assert not inside or sum(share * v for v, share in shares) == pytest.approx(velocity)
