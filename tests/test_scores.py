"""The scores the project writes."""

from itertools import pairwise

import numpy as np
import pytest

from nnss_utils.errors import InputError
from nnss_utils.midi import read_midi, samples_of
from nnss_utils.paths import ROOT
from nnss_utils.scores import SCORES, bwv846_prelude, bwv847_fugue, scale_sequence


def test_the_fugue_is_the_seeds_own_test():
    notes = bwv847_fugue()
    assert len({n.start for n in notes}) == 20
    assert 6.5 < max(n.end for n in notes) < 7.5
    assert (min(n.pitch for n in notes), max(n.pitch for n in notes)) == (63, 74)


def test_the_prelude_has_35_bars_of_one_pattern():
    notes = bwv846_prelude()
    bar = 16 * 60 / 72 / 4
    assert max(n.end for n in notes) == pytest.approx(35 * bar)
    for number in range(32):  # two halves alike, eight onsets each
        halves = [
            [
                (round(n.start - number * bar - half, 6), n.pitch)
                for n in notes
                if half - 1e-6 <= n.start - number * bar < half + bar / 2 - 1e-6
            ]
            for half in (0, bar / 2)
        ]
        assert halves[0] == halves[1] and len(halves[0]) == 8
    assert [n.pitch for n in notes if n.start >= 34 * bar - 1e-6] == [36, 48, 64, 67, 72]


def test_the_scale_goes_up_and_down_alone_with_varied_durations():
    notes = scale_sequence(48, 52, repetitions=2, shortest=0.2, longest=1.0, sustained=0, gap=0.3)
    assert [n.pitch for n in notes] == [48, 49, 50, 51, 52, 52, 51, 50, 49, 48] * 2
    assert all(n.velocity == 100 for n in notes)
    for earlier, later in pairwise(notes):
        assert later.start - earlier.end == pytest.approx(0.3)
    durations = [n.duration for n in notes]
    assert min(durations) == pytest.approx(0.2) and max(durations) == pytest.approx(1.0)
    for pitch in range(48, 53):
        assert len({round(n.duration, 6) for n in notes if n.pitch == pitch}) == 4


def test_every_key_is_held_once():
    notes = scale_sequence(48, 52, repetitions=2, shortest=0.2, longest=1.0, sustained=5.0)
    for pitch in range(48, 53):
        durations = sorted(n.duration for n in notes if n.pitch == pitch)
        assert durations[-1] == pytest.approx(5.0) and durations[-2] == pytest.approx(1.0) and len(durations) == 4


@pytest.mark.parametrize("name", [*SCORES, "scale"])
def test_the_committed_midi_files_are_the_scores(name):
    notes = SCORES[name]() if name in SCORES else scale_sequence()
    assert [samples_of(n) for n in read_midi(ROOT / "data" / "midi" / f"{name}.mid")] == [samples_of(n) for n in notes]


def test_every_third_key_only():
    third, all_keys = scale_sequence(every=3, repetitions=2), scale_sequence(repetitions=2)
    assert sorted({note.pitch for note in third}) == list(range(21, 109, 3)) and len(third) * 88 == len(all_keys) * 30
    assert all(before.end < after.start for before, after in pairwise(third))


def test_the_scale_follows_its_seed():
    assert scale_sequence(seed=1) == scale_sequence(seed=1) != scale_sequence(seed=2)


@pytest.mark.parametrize(
    "bad",
    [
        {"low": 70, "high": 60},
        {"low": -1},
        {"high": 128},
        {"repetitions": 0},
        {"gap": -1.0},
        {"shortest": 3.0, "longest": 1.0},
        {"repetitions": 1.5},
        {"seed": -1},
        {"longest": "2"},
    ],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(InputError):
        scale_sequence(**bad)


def test_the_performance_is_what_people_play():
    notes = SCORES["performance"]()
    assert {note.pitch for note in notes} == set(range(21, 109))
    assert min(n.velocity for n in notes) <= 12 and max(n.velocity for n in notes) == 120
    assert len({(n.pitch, n.velocity, samples_of(n)[1]) for n in notes}) == len(notes)
    assert notes == sorted(notes) == SCORES["performance"]() and all(n.duration > 0.02 for n in notes)
    sounding = [sum(n.start <= t < n.end for n in notes) for t in range(1, 160)]
    assert 10 < np.median(sounding) < 40  # under the pedal
    by_key = {pitch: [n for n in notes if n.pitch == pitch] for pitch in range(21, 109)}
    for played in by_key.values():
        assert all(earlier.end <= later.start for earlier, later in pairwise(played))
