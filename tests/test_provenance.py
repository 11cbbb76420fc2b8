"""Where models and results come from, the same bits from the same seed, and tables made again."""

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils import provenance
from nnss_utils.errors import InputError
from nnss_utils.evaluation import piece as evaluation
from nnss_utils.evaluation import tables, test_set
from nnss_utils.evaluation.metrics import measure
from nnss_utils.instruments.pair import make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.maintenance import reproduce
from nnss_utils.model.model_file import read_metadata
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.paths import PRETRAINED, read_json, run_file, write_json
from nnss_utils.provenance import data_digests, made_with
from nnss_utils.scores import SCORES, bwv847_fugue, scale_sequence
from nnss_utils.training.dataset import make_dataset

ORIGIN = {"versions", "commit", "data"}


def test_a_model_says_what_it_was_made_with(model, pair):
    said = read_metadata(run_file("small"))["training"]["made_with"]
    assert set(said) == ORIGIN and said["data"] == data_digests(pair.notes, pair.audio)
    assert {"python", "nnss", "keras", "tensorflow", "numpy"} <= set(said["versions"])
    assert said["commit"] == provenance.commit() and (
        len(said["commit"].rstrip("+")) == 40 or said["commit"] == "unknown"
    )


def test_the_shipped_models_data_can_be_made_again_bit_by_bit():
    said, pair = read_metadata(PRETRAINED)["training"]["made_with"], make_pair(scale_sequence(), Steinway())
    assert data_digests(pair.notes, pair.audio) == said["data"]


def test_a_result_says_what_it_was_made_with(model):
    audio = np.zeros(9000, np.float32)
    piece = evaluation.Piece("origin", tuple(bwv847_fugue()[:1]), audio, audio, audio, 1.0)
    result = evaluation.record(piece, model, {"network": measure(audio, audio, piece.onsets)})
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
    again = make_pair(scale_sequence(60, 64, repetitions=2, longest=0.6, sustained=0), Steinway())
    assert data_digests(again.notes, again.audio) == data_digests(pair.notes, pair.audio)
    datasets = [
        make_dataset(p.notes, p.audio, small_settings(), estimate_tuning(p.audio, p.notes, 60, 64))
        for p in (pair, again)
    ]
    one, other = (dataset.batch(7) for dataset in datasets)
    np.testing.assert_array_equal(one.target, other.target)
    for name in one.inputs:
        np.testing.assert_array_equal(one.inputs[name], other.inputs[name])


def committed():
    """Every committed result that `make reproduce` compares."""
    results = [read_json(path) for path in sorted(reproduce.COMMITTED_RESULTS.glob("*.json"))]
    return [*results, *test_set.committed_measures().values()]


def test_results_made_again_from_the_same_data_do_not_differ():
    for result in committed():
        assert reproduce.differences(result, result) == [] and sum(1 for _ in reproduce.figures(result)) > 0


PIECE = {"pieces": {"fugue": {"correlation": 0.9991, "snr_db": 45.6, "notes": 20, "synthesis_seconds": 2.4}}}


@pytest.mark.parametrize(
    ("key", "value", "differs"),
    [
        ("correlation", 0.9985, 0),
        ("correlation", 0.9971, 1),
        ("snr_db", 45.5, 0),
        ("snr_db", 45.1, 1),
        ("snr_db", "45.6", 1),
        ("notes", 21, 1),
        ("synthesis_seconds", 8.3, 0),
        ("more", 1, 1),
    ],
)
def test_a_figure_beyond_its_spread_is_listed(key, value, differs):
    changed = {"pieces": {"fugue": PIECE["pieces"]["fugue"] | {key: value}}}
    found = reproduce.differences(PIECE, changed)
    assert len(found) == differs and all(f"/pieces/fugue/{key}: " in line for line in found)


def test_numbers_in_texts_are_compared_too():
    spread = reproduce.spread_of("/claims/0/measured")
    assert reproduce.same("score 8,602.5 of 0.43", "score 8,602.5 of 0.44", spread)
    assert not reproduce.same("score 0.43", "score 0.63", spread)
    assert not reproduce.same("score 0.43", "result 0.43", spread)


def test_every_measured_figure_has_a_spread_or_is_exact():
    """A speed may be the machine's own; a measure may not."""
    assert reproduce.spread_of("/pieces/bwv847/attack_lsd_db").absolute == 0.2
    assert reproduce.spread_of("/pieces/bwv847/griffin_lim/bands/3/snr_db").absolute == 0.2
    assert reproduce.spread_of("/worst/attack_ratio").absolute == 0.05
    assert reproduce.same(21.2, 3.0, reproduce.spread_of("/worst/times_real_time"))
    assert reproduce.spread_of("/parts/lstm_256/ratio").relative == 0.25
    assert reproduce.spread_of("/parts/lstm_256/output_difference").absolute == 1e-5
    for exact in ("/pieces/bwv847/notes", "/settings/network/units", "/parameters", "/claims/0/verdict"):
        assert reproduce.spread_of(exact) == reproduce.Spread(""), exact
    for path, value in reproduce.figures(read_json(reproduce.COMMITTED_RESULTS / "benchmark.json")):
        assert not isinstance(value, float) or reproduce.spread_of(path) != reproduce.Spread(""), path


@pytest.mark.parametrize(
    ("path", "before", "after", "same"),
    [
        ("/parts/lstm_256/share", 0.80, 0.66, True),
        ("/parts/lstm_256/share", 0.80, 0.55, False),
        ("/parts/memory_300/peak_mb", 858.0, 900.0, True),
        ("/parts/memory_3600/peak_mb", 865.0, 1300.0, False),
        ("/parts/streaming_1/disk_mb", 0.0, 9.0, False),
        ("/parts/streaming_1/frames_s", 422.0, 99.0, True),
        ("/parts/speed_performance/network", 94.0, 20.0, True),
        ("/parts/one_note/median_ms", 22.0, 60.0, True),
    ],
)
def test_speeds_are_the_machines_own_and_ratios_and_memory_are_not(path, before, after, same):
    assert reproduce.same(before, after, reproduce.spread_of(path)) is same


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that `make reproduce` runs; each leaves what is committed, as a perfect reproduction would."""
    ran = []

    def run(*command, folder=None):
        ran.append(command)
        for path in (reproduce.COMMITTED_RESULTS).glob("*.json"):
            write_json(tmp_path / path.name, read_json(path))
        if "nnss_utils.evaluation.test_set" in command:
            name = command[command.index("nnss_utils.evaluation.test_set") + 1]
            model = test_set.committed_measures()[name]
            here = [*SCORES, *map(tables.piece_name, command[4:])]
            rows = {
                piece: model["pieces"][piece] for piece in here if piece in model["pieces"] or piece != "performance"
            }
            write_json(tmp_path / "pieces" / f"{name}.json", model | {"pieces": rows})

    monkeypatch.setattr(reproduce, "run", run)
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path)
    return ran


def test_reproducing_runs_the_commands_and_finds_no_difference(commands, tmp_path, capsys):
    assert reproduce.main(["bach_bwv784_invention13.mid"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: " in said and "0 differ by more" in said for name in ("results", "models", "claims", "speed"))
    assert "not made again, since their MIDI files are not given (MIDI=PATH): bach_bwv775" in said
    assert (tmp_path / "laboratory").is_dir()  # the kept trainings, from which the claims are judged
    words = [word for command in commands for word in command]
    assert {
        "05_train.ipynb",
        "07_claims.ipynb",
        "nnss_utils.maintenance.benchmarks",
        "nnss_utils.evaluation.test_set",
    } <= set(words)


def test_reproducing_from_nothing_trains_every_model_as_it_was_trained(commands, tmp_path):
    assert reproduce.main(["--all", "--tables", "results,models"]) == 0
    trained = [command[2:] for command in commands if "05_train.ipynb" in command]
    assert len(trained) == 7 and not (tmp_path / "laboratory").exists()
    for name, model in test_set.committed_measures().items():
        if model["instrument"] == "steinway" and name != "steinway":
            wanted = Settings.from_dict(model["settings"])
            words = next(list(command[1:]) for command in trained if command[command.index("name") + 1] == name)
            given = dict(zip(words[1::3], words[2::3], strict=True))
            typed = {key: value if key in ("name", "architecture") else float(value) for key, value in given.items()}
            typed |= {key: int(typed[key]) for key in ("steps", "echo", "units") if key in typed}
            assert make_settings(**typed) == wanted or name in ("mask_dense", "mask_blstm")  # of before echoes


def test_a_figure_that_differs_ends_in_its_count(commands, tmp_path, monkeypatch, capsys):
    real = reproduce.run

    def worse(*command, folder=None):
        real(*command, folder=folder)
        result = read_json(tmp_path / "claims.json")
        result["claims"][0]["verdict"] = "refuted"
        write_json(tmp_path / "claims.json", result)

    monkeypatch.setattr(reproduce, "run", worse)
    assert reproduce.main(["--tables", "claims"]) == 1
    assert "1 differ by more than their spread" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"tables='all' is unknown; choose one of results, models, claims, speed"):
        reproduce.main(["--tables", "all"])


def test_a_command_that_fails_ends_reproducing(tmp_path):
    with pytest.raises(InputError, match="ended with 3; its output is above"):
        reproduce.run("python", "-c", "raise SystemExit(3)", folder=tmp_path)
