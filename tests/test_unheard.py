"""Keys never heard against the stretched sampler: the measures and their table."""

import dataclasses
from itertools import pairwise

import pytest

from nnss_utils.errors import InputError
from nnss_utils.evaluation import unheard
from nnss_utils.model.model_file import save_model
from nnss_utils.paths import read_json, run_file


def test_notes_are_separate_and_of_every_duration():
    notes = unheard.separate_notes(range(60, 67), [90])
    assert [note.pitch for note in notes] == list(range(60, 67)) and {note.velocity for note in notes} == {90}
    assert all(b.start - a.end == pytest.approx(unheard.PAUSE) for a, b in pairwise(notes))
    assert {round(note.duration, 6) for note in notes} == set(unheard.SECONDS)
    several = unheard.separate_notes([60, 61], [40, 50, 60])
    assert [(note.pitch, note.velocity) for note in several] == [(k, v) for k in (60, 61) for v in (40, 50, 60)]


def test_a_model_is_measured_on_the_keys_it_has_not_heard(model, capsys):
    told = dataclasses.replace(model, training={**model.training, "keys": [60, 61, 63, 64]})
    save_model(run_file(told.name), told)
    unheard.main([told.name])
    rows = read_json(unheard.RESULTS / "unheard" / f"{told.name}.json")["registers"]
    assert list(rows) == ["all", "48 to 71"] and rows["all"]["keys"] == [62]
    sampler, network = rows["all"]["sampler"], rows["all"]["network"]
    assert sampler["lsd_db"] > 0 and sampler["snr_db"] < network["snr_db"]  # it has really heard the key
    table = unheard.unheard_table(rows)
    assert table.count("\n") == 3 and f"{network['lsd_db'] / sampler['lsd_db']:.2f}" in table
    assert table in capsys.readouterr().out
    unheard.main([told.name, "40", "90"])
    again = read_json(unheard.RESULTS / "unheard" / f"{told.name}.json")
    assert again["velocities"] == [40, 90] and again["registers"]["all"]["network"] != network
    with pytest.raises(InputError, match="numbers from 1 to 127"):
        unheard.main([told.name, "200"])


def test_only_recorded_keys_are_true(model, monkeypatch):
    piano = unheard.load_instrument(model.instrument)
    monkeypatch.setattr(type(piano), "recorded", [60, 61, 63], raising=False)
    assert unheard.measure_unheard(model, [60])["all"]["keys"] == [61, 63]


def test_a_model_that_knows_all_keys_or_does_not_tell_is_refused(model):
    with pytest.raises(InputError, match="has heard each key"):
        unheard.measure_unheard(model, range(60, 65))
    silent = dataclasses.replace(model, training={k: v for k, v in model.training.items() if k != "keys"})
    save_model(run_file(silent.name), silent)
    with pytest.raises(InputError, match="which keys it has heard"):
        unheard.main([silent.name])
    own = dataclasses.replace(model, instrument="own recording mine.wav")
    save_model(run_file(own.name), own)
    with pytest.raises(InputError, match="learnt from a recording"):
        unheard.main([own.name])
    with pytest.raises(InputError, match="give one model"):
        unheard.main([])
