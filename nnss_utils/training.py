"""Training: one loop for every network, interrupted and resumed as if nothing had happened (notebook 05_train)."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm.auto import tqdm

from nnss_utils import models
from nnss_utils.batches import WORKERS, batch_inputs, batches_ahead, on_device
from nnss_utils.checkpoint import Progress, interruptible, only_one, restore_checkpoint, save_checkpoint
from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.modelfile import TrainedModel, read_metadata, run_file, save_model
from nnss_utils.pair import Pair
from nnss_utils.paths import RUNS, shown, write_json
from nnss_utils.provenance import commit, versions
from nnss_utils.sampling import PairSampler
from nnss_utils.trainer import Trainer, prepare

CHECKPOINT_SECONDS = 60.0  # between two checkpoints at the most
CHECKPOINT_SHARE = 0.03  # of the time may go into writing them
VALIDATION_STEPS = 50
READ_STEPS = 10  # between two looks at the losses
WARM_UP_STEPS = 30
SLACK = 0.15  # part of the time by which steps may lag before the clock sets the learning rate
DIVERGED = 100  # times the loss of the first steps


def fingerprint(settings: Settings, pair: Pair) -> str:
    """Return a digest of all that decides what a training makes."""
    return hashlib.sha256(json.dumps([settings.to_dict(), pair.digests], sort_keys=True).encode()).hexdigest()


def is_trained(settings: Settings, pair: Pair) -> bool:
    """Return whether the model of these settings and this pair is there already."""
    path = run_file(settings.name)
    return path.is_file() and read_metadata(path)["training"].get("fingerprint") == fingerprint(settings, pair)


def learning_rate(settings: Settings, progress: Progress) -> float:
    """Return the rate of the next step: a short warm-up, then half a cosine over the steps.

    Only a machine so slow that time runs out first, by more than SLACK, follows the seconds instead: elsewhere
    the same parameters give the same network.
    """
    training = settings.training
    time_done = progress.seconds / training.seconds
    done = min(1.0, max(progress.step / training.steps, time_done - SLACK * (1 - time_done)))
    warm_up = min(1.0, (progress.step + 1) / WARM_UP_STEPS)
    return training.learning_rate * warm_up * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))


class Watch(Protocol):
    """Who looks at a training while it goes on (monitor.TrainingView); the time of looking is not training's."""

    def due(self, progress: Progress) -> bool:
        """Return whether it is time to look."""

    def __call__(self, progress: Progress, model: TrainedModel) -> None:
        """Look."""


def train(pair: Pair, settings: Settings, watch: Watch | None = None) -> TrainedModel:
    """Train a network on a pair, save it under data/runs/NAME and return it; `watch` looks on, and changes nothing.

    An interrupted training of the same settings and pair goes on where it was. Raises `InputError` for a pair
    that can't teach, a name that another process trains, a training that diverges or can't be written (the last
    good checkpoint stays), and KeyboardInterrupt after an interruption (the checkpoint saved).
    """
    with only_one(settings.name):
        return _train(pair, settings, watch)


def _train(pair: Pair, settings: Settings, watch: Watch | None) -> TrainedModel:
    trainer, sampler = prepare(pair, settings)
    network, folder = trainer.network, RUNS / settings.name
    identity = fingerprint(settings, pair)
    checkpoint = folder / f"checkpoint_{identity[:8]}.keras"
    _check_room(folder, 4 * network.count_params())
    progress = restore_checkpoint(checkpoint, network, trainer.optimizer)
    origin = {"fingerprint": identity, "made_with": {"versions": versions(), "commit": commit(), "data": pair.digests}}

    def now() -> TrainedModel:
        return trained_model(trainer, sampler, pair, origin | _summary(progress, trainer, pair))

    def look(last: bool = False) -> None:
        if watch is not None and (last or watch.due(progress)):
            watch(progress, now())

    def keep() -> None:
        save_checkpoint(checkpoint, now(), trainer.optimizer, progress)

    _loop(trainer, sampler, progress, keep, look)
    look(last=True)
    lent = models.borrow_tables(network, {note.pitch for note in pair.notes}, *pair.pitches)
    if lent:
        print(f"no note of the pair has the pitches {', '.join(map(str, lent))}: they sound after their neighbours")
    model = now()
    try:
        write_json(folder / "training.json", {"settings": settings.to_dict(), **model.training, **curves(progress)})
        save_model(run_file(settings.name), model)
    except OSError as error:
        kept = f"{shown(checkpoint)} stays: " if checkpoint.is_file() else ""
        raise InputError(
            f"{shown(run_file(settings.name))} can't be written ({_reason(error)}); {kept}make room and run it again"
        ) from None
    checkpoint.unlink(missing_ok=True)
    return model


def _reason(error: OSError) -> str:
    """Return why something can't be written, in the system's words where it has some."""
    return error.strerror or (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_room(folder: Path, model: int) -> None:
    """Raise `InputError` if a disk has no room for a model of so many bytes; say if it has none for checkpoints."""
    free, needed = shutil.disk_usage(folder).free, 8 * model  # three times the model, twice while one is replaced
    if free < 1.1 * model:
        raise InputError(
            f"{shown(folder)} has {free / 1e6:.0f} MB of room, the model alone needs {1.1 * model / 1e6:.0f} MB; "
            "make room and run it again"
        )
    if free < needed:
        print(f"{shown(folder)} has {free / 1e6:.0f} MB of room; checkpoints and model may need {needed / 1e6:.0f} MB")


def _summary(progress: Progress, trainer: Trainer, pair: Pair) -> dict:
    """Return how a training went so far."""
    return {
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "parameters": trainer.network.count_params(),
        "train_loss": progress.train_loss[-1] if progress.train_loss else None,
        "validation_loss": progress.validation[-1][1] if progress.validation else None,
        "pair": pair.description,
        "late": pair.late,
    }


def trained_model(trainer: Trainer, sampler: PairSampler, pair: Pair, summary: dict) -> TrainedModel:
    """Return what a training made, ready to be used or saved; `summary` says how it went."""
    return TrainedModel(
        trainer.network,
        trainer.settings,
        sampler.tuning,
        trainer.level,
        pair.instrument,
        *pair.pitches,
        sampler.longest,
        summary,
    )


def curves(progress: Progress) -> dict:
    """Return the loss curves as lists for JSON."""
    steps, values = zip(*progress.validation, strict=True) if progress.validation else ((), ())
    return {
        "train_curve": progress.train_loss,
        "validation_curve": {"step": list(steps), "loss": list(values)},
    }


def _loop(
    trainer: Trainer, sampler: PairSampler, progress: Progress, keep: Callable[[], None], look: Callable[[], None]
) -> None:
    """Take steps until the settings' steps or seconds are done; batches are made ahead in a second thread.

    keep: writes a checkpoint.
    """
    settings = trainer.settings
    steps, seconds = settings.training.steps, settings.training.seconds
    validation = on_device(sampler.validation_batch())
    losses = []  # of the steps since the last time that they were read
    begun, before = time.monotonic(), progress.seconds
    saved, cost = begun, 1 / 30
    with (
        interruptible() as interrupted,
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(total=100, desc=f"training {settings.name}", unit="%", bar_format=BAR) as bar,
    ):
        batches = batches_ahead(pool, sampler, progress.step, steps, settings.training.echo)
        while progress.step < steps and progress.seconds < seconds:
            batch = next(batches)
            trainer.optimizer.learning_rate.assign(learning_rate(settings, progress))
            losses.append(trainer.step(batch))
            progress.step += 1
            progress.seconds = before + time.monotonic() - begun
            last = progress.step >= steps or progress.seconds >= seconds
            due = not last and time.monotonic() - saved > min(CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE)
            if last or due or progress.step % READ_STEPS == 0:
                _read(losses, progress, settings)
                paused = time.monotonic()
                look()
                looked = time.monotonic() - paused
                begun, saved = begun + looked, saved + looked
            if validation and (last or progress.step % VALIDATION_STEPS == 0):
                value = float(trainer.test_on_batch(batch_inputs(validation), validation.target))
                progress.validation.append((progress.step, value))
            _show(bar, progress, settings)
            stopped = interrupted.is_set() and not last
            if due or stopped:
                _read(losses, progress, settings)
                saved = time.monotonic()
                written = _kept(keep, bar)
                cost = time.monotonic() - saved
                saved += cost
            if stopped:
                bar.close()
                kept = f"its checkpoint keeps step {progress.step}" if written else "its last checkpoint stays"
                print(f"training {settings.name} interrupted; {kept}: run the same again to go on")
                raise KeyboardInterrupt


def _kept(keep: Callable[[], None], bar: tqdm) -> bool:
    """Write a checkpoint and return whether it could be written; a full disk ends no training, and is said."""
    try:
        keep()
    except OSError as error:
        bar.write(f"the checkpoint can't be written ({_reason(error)}): training goes on without; make room")
        return False
    return True


def _read(losses: list, progress: Progress, settings: Settings) -> None:
    """Move the losses of the last steps from the device to `progress`; raises `InputError` if they diverge."""
    for loss in map(float, losses):
        if not math.isfinite(loss):
            _diverged(progress, settings, "is no number")
        progress.train_loss.append(loss)
    losses.clear()
    first, latest = progress.train_loss[:READ_STEPS], progress.train_loss[-VALIDATION_STEPS:]
    if len(progress.train_loss) > VALIDATION_STEPS and np.mean(latest) > DIVERGED * np.median(first):
        _diverged(progress, settings, f"rose from {np.median(first):.3g} to {np.mean(latest):.3g}")


def _diverged(progress: Progress, settings: Settings, how: str) -> None:
    raise InputError(
        f"training of {settings.name} diverged at step {len(progress.train_loss)}: its loss {how}; the last good "
        f"checkpoint stays; give a learning_rate below {settings.training.learning_rate:g}"
    )


BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}"


def _show(bar: tqdm, progress: Progress, settings: Settings) -> None:
    """Bring the progress bar up to date, a few times a second."""
    done = max(progress.step / settings.training.steps, progress.seconds / settings.training.seconds)
    validation = f" validation {progress.validation[-1][1]:.5f}" if progress.validation else ""
    loss = f" loss {progress.train_loss[-1]:.5f}" if progress.train_loss else ""
    bar.set_postfix_str(f"step {progress.step}{loss}{validation}", refresh=False)
    bar.update(min(100.0, 100 * done) - bar.n)
