"""Where models and results come from, the same bits from the same seed, and tables made again."""

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils import evaluation, provenance, readme, reproduce
from nnss_utils.instrument import SampledPiano
from nnss_utils.modelfile import PRETRAINED, read_metadata, run_file
from nnss_utils.pair import make_pair
from nnss_utils.paths import read_json
from nnss_utils.provenance import data_digests, made_with
from nnss_utils.run import make_scale_pair
from nnss_utils.sampling import PairSampler
from nnss_utils.scores import bwv847_fugue, scale_sequence
from nnss_utils.tuning import estimate_tuning

ORIGIN = {"versions", "commit", "data"}


def test_a_model_says_what_it_was_made_with(model, pair):
    said = read_metadata(run_file("small"))["training"]["made_with"]
    assert set(said) == ORIGIN and said["data"] == data_digests(pair.notes, pair.audio)
    assert {"python", "nnss", "keras", "tensorflow", "numpy"} <= set(said["versions"])
    assert said["commit"] == provenance.commit() and (
        len(said["commit"].rstrip("+")) == 40 or said["commit"] == "unknown"
    )


def test_the_shipped_models_data_can_be_made_again_bit_by_bit():
    said, pair = read_metadata(PRETRAINED)["training"]["made_with"], make_scale_pair()
    assert data_digests(pair.notes, pair.audio) == said["data"]


def test_a_result_says_what_it_was_made_with(model):
    piece = evaluation.make_piece("bwv847_fugue", model, "origin") if model.high > 80 else None
    audio = np.zeros(9000, np.float32)
    piece = piece or evaluation.Piece("origin", tuple(bwv847_fugue()[:1]), audio, audio, audio, 1.0)
    result = evaluation.evaluate(piece, model, {})
    assert set(result) >= ORIGIN | {"parameters", "training"} and result == read_json(evaluation.result_file("origin"))
    assert result["data"] == data_digests(piece.notes, piece.target)


def test_digests_are_of_every_bit():
    notes, audio = bwv847_fugue(), np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    digests = data_digests(notes, audio)
    assert digests == data_digests(list(notes), audio.copy())
    other = audio.copy()
    other[-1] = np.nextafter(other[-1], np.float32(1))
    assert data_digests(notes, other)["audio_sha256"] != digests["audio_sha256"]
    assert data_digests(notes[1:], audio)["notes_sha256"] != digests["notes_sha256"]
    assert set(made_with(notes, audio)) == ORIGIN


def test_without_git_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() == "unknown"


def test_data_and_batches_are_the_same_bits_again(pair):
    again = make_pair(scale_sequence(60, 64, repetitions=2, longest=0.6, sustained=0), SampledPiano())
    assert data_digests(again.notes, again.audio) == data_digests(pair.notes, pair.audio)
    samplers = [
        PairSampler(p.notes, p.audio, small_settings(), estimate_tuning(p.audio, p.notes, 60, 64))
        for p in (pair, again)
    ]
    one, other = (sampler.batch(7) for sampler in samplers)
    np.testing.assert_array_equal(one.target, other.target)
    for name in one.inputs:
        np.testing.assert_array_equal(one.inputs[name], other.inputs[name])


def test_tables_made_again_from_the_same_results_do_not_differ():
    for table in readme.tables().values():
        assert reproduce.differences(table, table) == []


TABLE = "| | correlation | SNR | x real time |\n|---|---|---|---|\n| fugue | 0.9991 | 45.6 dB | 20.1 |"


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (("0.9991", "0.9985"), 0),
        (("0.9991", "0.9971"), 1),
        (("45.6", "45.5"), 0),
        (("45.6", "45.1"), 1),
        (("45.6 dB", "45.6"), 1),
        (("20.1", "8.3"), 0),
        (("fugue", "prelude"), 1),
        (("| 20.1 |", "| 20.1 |\n| more | 1 | 1 | 1 |"), 1),
    ],
)
def test_a_figure_beyond_its_spread_is_said(change, differs):
    found = reproduce.differences(TABLE, TABLE.replace(*change))
    assert len(found) == differs and all(
        change[1].split(" |")[0].strip("| ") in line or "lines" in line for line in found
    )


def test_numbers_are_read_as_they_are_written():
    assert reproduce.numbers_of("8,602,380 parameters, -61.5 dB and 2.2e-07") == [8602380, -61.5, 2.2e-07]


def test_every_figure_of_the_readme_has_a_spread_or_is_exact(monkeypatch):
    """A speed may be the machine's own; a measure may not."""
    assert reproduce.spread_of("attack LSD (Griffin-Lim) bwv847").absolute == 0.2
    assert reproduce.spread_of("x real time bwv847").relative == 1
    assert reproduce.spread_of("octave SNR to 8 kHz, dB").absolute == 0.2
    assert reproduce.spread_of("measured double BLSTM of 256, training: over Keras' own").relative in (0.25, 1)
    assert reproduce.spread_of("pieces") == reproduce.Spread("")
