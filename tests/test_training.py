"""Training: interrupted and resumed it is the same training; nothing half-written stays."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils.errors import InputError
from nnss_utils.instruments.pair import Pair
from nnss_utils.model.model_file import load_model
from nnss_utils.paths import RUNS, read_json, run_file
from nnss_utils.training import prefetch, train
from nnss_utils.training.checkpoint import Progress, interruptible
from nnss_utils.training.dataset import Batch


def weights(model):
    return [np.asarray(w) for w in model.network.weights]


def test_it_learns_and_says_how(model):
    record = read_json(RUNS / "small" / "training.json")
    assert record["steps"] == 400 == len(record["train_curve"])
    assert record["validation_loss"] < record["validation_curve"]["loss"][0]
    assert record["train_loss"] < 0.5  # silence costs about 1
    assert not list((RUNS / "small").glob("*checkpoint*")) and not list((RUNS / "small").glob(".*"))


def test_the_same_parameters_give_the_same_network(pair):
    first = train.train(pair, small_settings(name="twice", steps=8))
    second = train.train(pair, small_settings(name="twice", steps=8))
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(a, b)


def interrupt_after(monkeypatch, steps, how):
    """Call `how` once the progress bar shows so many steps."""
    show = train._show

    def hooked(bar, progress, settings):
        show(bar, progress, settings)
        if progress.step == steps:
            how()

    monkeypatch.setattr(train, "_show", hooked)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_uninterrupted(pair, monkeypatch, capsys, number):
    whole = train.train(pair, small_settings(name=f"whole{number}", steps=20))
    with monkeypatch.context() as patched:
        interrupt_after(patched, 9, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            train.train(pair, small_settings(name=f"parts{number}", steps=20))
    assert not run_file(f"parts{number}").exists()
    assert "keeps step 9" in capsys.readouterr().out
    resumed = train.train(pair, small_settings(name=f"parts{number}", steps=20))
    assert "from step 9" in capsys.readouterr().out
    for a, b in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    curves = [read_json(RUNS / f"{n}{number}" / "training.json")["train_curve"] for n in ("whole", "parts")]
    assert curves[0] == curves[1] and len(curves[0]) == 20


def test_a_killed_training_goes_on_from_its_last_checkpoint(pair, monkeypatch, capsys):
    class Killed(Exception):
        pass

    def kill():
        raise Killed

    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 7, kill)
        with pytest.raises(Killed):
            train.train(pair, small_settings(name="killed", steps=12))
    train.train(pair, small_settings(name="killed", steps=12))
    assert "from step 6" in capsys.readouterr().out


def test_a_checkpoint_of_other_parameters_is_not_used(pair, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train.train(pair, small_settings(name="other", steps=6))
    train.train(pair, small_settings(name="other", steps=6, power=0.25))
    assert "training starts from the beginning" in capsys.readouterr().out


def test_a_damaged_checkpoint_starts_anew(pair, capsys):
    settings = small_settings(name="damaged", steps=2)
    path = RUNS / "damaged" / f"checkpoint_{train.fingerprint(settings, pair)[:8]}.keras"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK nothing")
    train.train(pair, settings)
    assert "is damaged: training starts from the beginning" in capsys.readouterr().out and not path.exists()


def test_a_trained_model_is_known_by_its_parameters_and_its_pair(model, pair):
    settings = small_settings()
    assert train.is_trained(settings, pair)
    assert not train.is_trained(small_settings(power=0.25), pair)
    assert not train.is_trained(settings, Pair(pair.notes, pair.audio * 0.5, pair.instrument, ""))
    assert load_model("small").training["fingerprint"] == train.fingerprint(settings, pair)


def test_time_ends_a_training_and_its_learning_rate(pair):
    model = train.train(pair, small_settings(name="timed", steps=100_000, seconds=4))
    assert model.training["steps"] < 100_000 and model.training["seconds"] >= 4
    settings = small_settings(steps=100)
    slow = train.learning_rate(settings, Progress(step=50, seconds=settings.training.seconds))
    lagging = train.learning_rate(settings, Progress(step=50, seconds=0.55 * settings.training.seconds))
    assert slow == pytest.approx(0.01 * settings.training.learning_rate)  # time is over: so is the cosine
    assert lagging == train.learning_rate(settings, Progress(step=50, seconds=1))  # the clock changes nothing
    early, late = Progress(step=50), Progress(step=99)
    assert train.learning_rate(settings, early) > 10 * train.learning_rate(settings, late)
    assert train.learning_rate(settings, Progress()) < settings.training.learning_rate / 10  # warm-up


@pytest.mark.parametrize("power", [1 / 8, 1.0])
def test_other_powers_train_too(pair, power):
    model = train.train(pair, small_settings(name=f"power{power}", steps=60, power=power))
    assert np.isfinite(model.training["train_loss"]) and model.training["train_loss"] < 1


@pytest.mark.parametrize("architecture", ["mask_blstm", "direct_blstm"])
def test_recurrent_networks_train(pair, architecture):
    settings = small_settings(
        name=architecture, architecture=architecture, layers=1, units=16, batch=8, frames=8, steps=5
    )  # fmt: skip
    assert np.isfinite(train.train(pair, settings).training["train_loss"])


def test_overlapping_notes_train_on_their_sum(piano):
    from nnss_utils.instruments.pair import make_pair
    from nnss_utils.midi import Note

    notes = [Note(0.3 * i, 0.3 * i + 0.5, 60 + (i * 7) % 5) for i in range(30)]
    pair = make_pair(notes, piano)
    model = train.train(pair, small_settings(name="mixed", steps=120, units=128))
    assert model.training["train_loss"] < 0.6


def test_a_disk_without_room_is_said_before_it_matters(pair, monkeypatch, capsys):
    def free(megabytes):
        monkeypatch.setattr(train.shutil, "disk_usage", lambda folder: SimpleNamespace(free=megabytes * 1e6))

    settings = small_settings(name="room", units=120, steps=1)
    free(5)
    with pytest.raises(InputError, match=r"has 5 MB of room, the model alone needs 6 MB; make room and run it again"):
        train.train(pair, settings)
    free(10)
    train.train(pair, settings)
    assert "has 10 MB of room; checkpoints and model may need 43 MB" in capsys.readouterr().out


def test_a_silent_pair_and_a_diverging_training_say_so(pair):
    silent = Pair(pair.notes, np.zeros_like(pair.audio), "x", "silence")
    with pytest.raises(InputError, match="silent"):
        train.train(silent, small_settings(name="silent", steps=3))
    bad = pair.audio.copy()
    bad[::1000] = np.nan
    with pytest.raises(InputError, match="diverged"):
        train.train(Pair(pair.notes, bad, "x", "nan"), small_settings(name="diverged", steps=3))
    assert not run_file("silent").exists() and not run_file("diverged").exists()


def test_signals_are_left_alone_outside_the_main_thread():
    seen = []

    def body():
        with interruptible() as event:
            seen.append(event.is_set())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False]


def test_echoed_batches_come_in_pairs_and_are_made_once(pair):
    assert [prefetch.batch_number(step, 2) for step in range(8)] == [0, 1, 0, 1, 2, 3, 2, 3]
    assert [prefetch.batch_number(step, 1) for step in range(3)] == [0, 1, 2]
    assert [prefetch.batch_number(step, 3) for step in range(8)] == [0, 1, 0, 1, 0, 1, 2, 3]
    made = []

    class Sampler:
        def batch(self, number):
            made.append(number)
            return Batch({"number": np.float32([number])}, np.zeros(1, np.float32))

    with ThreadPoolExecutor(1) as pool:
        drawn = [int(b.inputs["number"][0]) for b in prefetch.batches_ahead(pool, Sampler(), 3, 10, 2)]
    assert drawn == [1, 2, 3, 2, 3, 4, 5]
    assert sorted(made) == [1, 2, 3, 4, 5]


class Looker:
    """Looks every time it may, for a thousand seconds of the training's clock."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.steps, self.names = clock, [], set()

    def due(self, progress: Progress) -> bool:
        return progress.step >= 10

    def __call__(self, progress: Progress, model) -> None:
        self.clock[0] += 1000
        self.steps.append(progress.step)
        self.names.add(model.name)


def test_a_watched_training_is_the_same_and_looking_costs_it_no_time(pair, monkeypatch):
    clock = [0.0]

    def tick() -> float:
        clock[0] += 0.001
        return clock[0]

    monkeypatch.setattr(train.time, "monotonic", tick)
    watch = Looker(clock)
    watched = train.train(pair, small_settings(name="watched", steps=30, seconds=500), watch)
    alone = train.train(pair, small_settings(name="watched", steps=30, seconds=500))
    assert watch.steps == [10, 20, 30, 30] and watch.names == {"watched"}
    for a, b in zip(watched.network.weights, alone.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert watched.training["seconds"] < 10
