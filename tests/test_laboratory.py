"""The laboratory: what is learnt is measured rightly, results are kept and found, claims are judged by numbers."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from nnss_utils.errors import InputError
from nnss_utils.laboratory import claims, experiment, grid, sweep, verdicts
from nnss_utils.laboratory.experiment import Experiment, Task, bin_edges, highest_learnt_hz, learnt_hz
from nnss_utils.laboratory.verdicts import CONFIRMED, OPEN, PARTLY, REFUTED
from nnss_utils.maintenance.tables import CLAIMS
from nnss_utils.model import losses, networks
from nnss_utils.model.settings import make_settings
from nnss_utils.paths import RESULTS, read_json, write_json

TASK = Task(60, 61, repetitions=2, longest=0.4, notes=2, heard=1)


def small(row: str = "small", **changes) -> Experiment:
    """Return a row that trains for a second on two keys."""
    flat = {
        "architecture": "mask_dense",
        "units": 32,
        "batch": 64,
        "holdout": 0.0,
        "steps": 10**6,
        "seconds": 2.0,
    } | changes
    return Experiment(row, make_settings(name="row", **flat), TASK)


@pytest.fixture(scope="module")
def result() -> dict:
    """A mask network's result, trained in this process."""
    seen = []
    result = experiment.run_experiment(small(), seen.append)
    assert seen == sorted(seen) and seen[-1] >= 2.0
    return result


def test_a_row_says_what_it_learnt_and_what_it_cost(result):
    assert result["finite"] and result["steps"] > 2 and result["seconds"] >= 2
    times = [look["seconds"] for look in result["snapshots"]]
    assert times == sorted(times) and 2 <= len(times) <= experiment.SNAPSHOTS
    first, last = result["snapshots"][0]["melody"], result["snapshots"][-1]["melody"]
    assert last["loss"] < first["loss"] and len(last["explained"]) == len(result["bin_edges"]) - 1
    assert learnt_hz(result) > learnt_hz(result, 0) > 0
    assert set(result["measures"]) >= {"correlation", "snr_db", "bands", "attack_lsd_db"}
    assert result["render_seconds"] > 0 and result["audio_seconds"] > 0.25


def test_a_result_is_kept_and_found_again_under_any_row_name(result):
    again = experiment.cached_result(small("another name"))
    assert again["row"] == "another name" and again["steps"] == result["steps"]
    assert experiment.cached_result(small(power=0.25)) is None
    assert experiment.cached_result(dataclasses.replace(small(), clock="wall")) is None


def test_a_sweep_trains_what_is_missing_and_nothing_else(result, monkeypatch):
    """In processes of their own; a loss that was added here reaches them."""
    monkeypatch.setitem(losses.LOSSES, "cubic", lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** 3))
    rows = [small("kept"), small("new", loss="cubic")]
    results = sweep.run_all(rows, workers=1)
    assert list(results) == ["kept", "new"]
    assert results["kept"]["steps"] == result["steps"] and results["new"]["settings"]["training"]["loss"] == "cubic"
    monkeypatch.setattr(sweep, "_client", None)  # a second time, no worker is needed
    assert sweep.run_all(rows)["new"]["steps"] == results["new"]["steps"]


def test_a_users_function_is_part_of_what_decides_a_result(monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "own", lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** 3))
    before = small(loss="own").identity
    monkeypatch.setitem(losses.LOSSES, "own", lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** 5))
    assert small(loss="own").identity != before


def test_a_users_loss_of_sounds_reaches_the_workers_too(monkeypatch):
    monkeypatch.setitem(losses.SOUND_LOSSES, "heard", lambda y, p: keras.ops.mean(keras.ops.square(y - p)))
    row = small("heard", loss="heard")
    assert [entry[:2] for entry in experiment.own_entries(row.settings)] == [("SOUND_LOSSES", "heard")]
    assert sweep.run_all([row], workers=1)["heard"]["finite"]


def test_a_diverging_row_is_told_not_hidden(monkeypatch):
    """By a loss without bounds: the project's own stay finite at any learning rate and power."""
    monkeypatch.setitem(losses.LOSSES, "unbounded", lambda y, p: -ops.mean(ops.exp(ops.square(p - y))))
    result = experiment.run_experiment(small("diverged", learning_rate=1.0, loss="unbounded"))
    assert not result["finite"] and "diverged" in experiment.results_table({"a row": result})
    assert all(np.isfinite(value) for value in result["measures"].values() if isinstance(value, float))


def test_bin_edges_cover_every_bin_once():
    assert bin_edges(1024)[:3] == [0, 1, 2] and bin_edges(1024)[-2:] == [1016, 1024]
    assert bin_edges(256)[-1] == 256 and bin_edges(40) == list(range(41))


def fake(explained, correlation=0.5, **measures) -> dict:
    """Return a result with a given explained variance (one value for all bins, or a function of Hz)."""
    edges = bin_edges(1024)
    hz = np.array(edges[:-1]) * 44100 / 2048
    values = [float(explained(f) if callable(explained) else explained) for f in hz]
    looks = [
        {"seconds": s, "melody": {"loss": 1 / s, "explained": values}, "training": {"loss": 1 / s}} for s in (1, 2, 4)
    ]
    return {
        "bin_edges": edges,
        "bin_hz": 44100 / 2048,
        "snapshots": looks,
        "measures": {"correlation": correlation, "snr_db": 1.0, "sustain_lsd_db": 5.0, "attack_lsd_db": 5.0} | measures,
        "settings": {"training": {"batch": 16, "frames": 32}},
        "steps": 100,
        "seconds": 10.0,
    }


def test_learnt_bandwidths_in_closed_form():
    assert learnt_hz(fake(1.0)) == pytest.approx(22050) and learnt_hz(fake(0.25)) == pytest.approx(22050 / 4)
    assert learnt_hz(fake(-3.0)) == 0 == highest_learnt_hz(fake(0.0))
    assert highest_learnt_hz(fake(1.0)) == pytest.approx(22050)
    assert highest_learnt_hz(fake(lambda f: f < 1000)) == pytest.approx(1000, rel=0.3)


BASE_ROWS = {f"{base}: as is{seed}": 0.5 for base in ("seed", "partials") for seed in ("", " (seed 1)")}


def judged(number: int, scores: dict[str, float], **measured) -> dict:
    """Return a claim's row judged on rows with these scores."""
    rows = {row: fake(0.1, score) for row, score in {**BASE_ROWS, **scores}.items()}
    return next(row for row in claims.judge_all(rows, measured) if row["number"] == number)


def on_both(**labels: float) -> dict[str, float]:
    return {
        f"{base}: {label.replace('_', ' ')}": score for base in ("seed", "partials") for label, score in labels.items()
    }


@pytest.mark.parametrize(("gru", "verdict"), [(0.49, CONFIRMED), (0.2, REFUTED)])
def test_gru_is_judged_by_its_score(gru, verdict):
    row = judged(2, on_both(**{"GRU x 2": gru}))
    assert row["verdict"] == verdict and f"{gru:.2f}" in row["measured"]


def test_bases_that_disagree_make_half_a_verdict():
    assert judged(2, {"seed: GRU x 2": 0.49, "partials: GRU x 2": 0.1})["verdict"] == PARTLY


def test_more_layers_that_help_refute_the_first_claim():
    others = dict.fromkeys(("BLSTM x 1", *verdicts.OTHERS), 0.1)
    deep = {"BLSTM x 3": 0.5, "BLSTM x 4": 0.5}
    assert judged(1, on_both(**others, **deep))["verdict"] == CONFIRMED
    assert judged(1, on_both(**others, **deep | {"BLSTM x 4": 0.7}))["verdict"] == REFUTED
    assert judged(1, on_both(**others | {"GRU x 2": 0.9}, **deep))["verdict"] == PARTLY


def test_differences_below_the_spread_decide_nothing():
    names = {f"seed: window {name}": 0.5 for name in ("kaiser", "hamming", "blackman", "rectangular")}
    assert judged(9, names)["verdict"] == OPEN
    assert judged(9, names | {"seed: window rectangular": 0.1})["verdict"] == CONFIRMED
    assert judged(9, names | {"seed: window rectangular": 0.9})["verdict"] == REFUTED


def test_what_was_not_run_is_said():
    row = judged(4, {})
    assert row["verdict"] == OPEN and "was not run" in row["why"]


def test_the_command_for_a_longer_run_names_rows_that_exist():
    command = judged(2, on_both(**{"GRU x 2": 0.5}))["gpu"]
    rows = command.split("-p rows ")[1].strip("'")
    assert {"seed: GRU x 2", "partials: as is (seed 1)"} <= {e.row for e in grid.choose(grid.everything(), rows)}


def test_every_claim_has_its_row_in_the_table():
    table = claims.claims_table(claims.judge_all({}, {"change": {"raw": [0.1, 1, 2], "heterodyned": [0, 0, 0]}}))
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [str(n) for n in range(1, 21)]
    committed = claims.claims_table(read_json(CLAIMS)["claims"])
    assert {line.count("|") for line in committed.splitlines()} == {7}  # no cell breaks the table


def test_every_row_has_its_own_name_and_comparable_size():
    rows = grid.everything(2.0)
    assert len({row.row for row in rows}) == len(rows) == len({row.identity for row in rows})
    base = 3_149_824
    for label, change in grid.ARCHITECTURES.items():
        flat = make_settings(**grid.BASES["partials"] | change)
        network = flat.network
        count = networks.ARCHITECTURES[network.architecture].build(network.layers, network.units, 1024).count_params()
        assert 0.65 * base < count < 1.1 * base, label


def test_the_seed_is_one_preset():
    settings = make_settings(preset="seed")
    assert (settings.codification.kind, settings.spectral.heterodyne, settings.spectral.frame_step) == (
        "two_sines",
        False,
        1,
    )
    assert (settings.training.power, settings.training.loss, settings.spectral.frame_length) == (1 / 8, "mse", 2048)
    network = settings.network
    assert (network.architecture, network.layers, network.units) == ("direct_blstm", 2, 1000)
    assert settings.name == "seed" and make_settings(preset="seed", units=64).name == "seed_units64"
    with pytest.raises(InputError, match="preset"):
        make_settings(preset="nobody")


def test_bad_experiments():
    with pytest.raises(InputError, match="row"):
        grid.choose(grid.everything(), "seed: as is, seed: nothing")
    assert len(grid.choose(grid.everything(), "seed: as is, partials: as is")) == 2
    for base, label in (("nobody", "as is"), ("seed", "nothing")):
        with pytest.raises(InputError, match="unknown"):
            grid.make(base, label)
    with pytest.raises(InputError, match="workers"):
        sweep.run_all([], workers=-1)
    with pytest.raises(InputError, match="scheduler"):
        sweep.run_all([small("elsewhere", seed=77)], scheduler="tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="clock"):
        Experiment("x", make_settings(), clock="sun")
    with pytest.raises(InputError, match="heard"):
        Task(notes=2, heard=3)


def test_a_damaged_result_is_no_result(result):
    path = small().path
    whole = path.read_text()
    try:
        path.write_text(whole[:100])
        assert experiment.cached_result(small()) is None
    finally:
        path.write_text(whole)
    write_json(RESULTS / "laboratory" / "other.json", {})
    assert experiment.cached_result(small())["steps"] == result["steps"]


def test_a_parameter_to_come_changes_no_result_but_a_changed_default_does(result):
    path, content = small().path, read_json(small().path)
    try:
        del content["settings"]["codification"]["ring"]  # as if it had not existed when the row was trained
        write_json(path, content)
        assert experiment.cached_result(small())["steps"] == result["steps"]
        content["settings"]["spectral"]["frame_step"] = 128  # as if that had been the usual value
        write_json(path, content)
        assert experiment.cached_result(small()) is None
    finally:
        write_json(path, result)
