"""The benchmark counts what it should, and tells it whole; nothing here is timed."""

import json

import keras
import pytest

from nnss_utils.errors import InputError
from nnss_utils.maintenance import bench_training, benchmarks, tables
from nnss_utils.model import time_basis
from nnss_utils.model.networks import mask_dense, mask_keyed
from nnss_utils.model.settings import make_settings
from nnss_utils.notebook import charts
from nnss_utils.paths import read_json


def test_an_lstms_operations_are_six_a_weight_and_frame():
    model = bench_training.lstm_model(bench_training.keras_lstm, 8, 4)
    kernels = [w for w in model.trainable_weights if "kernel" in w.path]
    first, second, out = (2048 + 8) * 4 * 8, 3 * 8 * 4 * 8, 2 * 8 * 2048  # of one direction, and the last layer
    assert bench_training.operations(model) == 6 * sum(w.shape[0] * w.shape[1] for w in kernels)
    assert bench_training.operations(model) == 6 * (2 * first + 2 * second + out)


def test_a_networks_operations_and_bytes():
    settings = make_settings(architecture="mask_dense", units=16, layers=2, frame_length=128, frame_step=16)
    network = mask_dense(2, 16, 64)
    operations, moved = bench_training.network_work(network, "mask_dense", settings)
    assert operations == 6 * ((64 + time_basis.FEATURES) * 16 + 16 * 16 + 16 * 4 * 64)
    assert moved == 36 * network.count_params() + 4 * 24 * 64 * 1024
    keyed = make_settings(units=5, frame_length=128, frame_step=16)
    operations, _ = bench_training.network_work(mask_keyed(1, 5, 64), "mask_keyed", keyed)
    kernels = [w.shape for w in mask_keyed(1, 5, 64).weights if w.path.endswith("kernel")]
    own_curves, masks = time_basis.SINCE_ON.count * 2 * 5, 5 * 2 * 64
    assert operations == 6 * (sum(rows * columns for rows, columns in kernels) + own_curves + masks)


def test_ceilings_are_measured():
    assert all(value > 0 for value in bench_training.ceilings().values())


def test_the_table_tells_what_was_measured_and_the_picture_has_it():
    result = read_json(tables.SPEED)
    assert set(result["parts"]) == set(benchmarks.PARTS) and result["minutes"] < 10
    table = benchmarks.table(result)
    assert table.count("\n") == len(benchmarks._ROWS) + 1  # no row is left out
    assert f"{result['parts']['lstm_256']['ratio']:.2f} times" in table
    few = benchmarks.table({"parts": {"lstm_256": result["parts"]["lstm_256"]}})
    assert "1000" not in few and few.count("BLSTM of 256") == 3
    _, axes = charts.benchmark(result)
    assert axes.shape == (2, 2) and len(axes[0, 0].patches) == 6
    assert all(line.get_ydata().min() > 0 for ax in (axes[0, 1], axes[1, 1]) for line in ax.lines)


def test_a_part_runs_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setitem(benchmarks.PARTS, "pid", ("benchmarks", "machine", ()))
    assert benchmarks.measure("pid") == json.loads(json.dumps(benchmarks.machine()))
    monkeypatch.setitem(benchmarks.PARTS, "broken", ("benchmarks", "nothing", ()))
    with pytest.raises(InputError, match="broken of the benchmark failed: AttributeError"):
        benchmarks.measure("broken")
    with pytest.raises(InputError, match="no part nobody"):
        benchmarks.main(["nobody"])


def test_a_long_pair_has_its_length(tmp_path):
    import soundfile

    from nnss_utils.midi import read_midi

    bench_training._write_long_pair(200, tmp_path / "a.mid", tmp_path / "a.wav")
    assert soundfile.info(tmp_path / "a.wav").frames == 200 * 44100
    notes = read_midi(tmp_path / "a.mid")
    assert max(note.end for note in notes) <= 200 and len({note.pitch for note in notes}) == 88
    keras.utils.clear_session()
