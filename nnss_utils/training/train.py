"""Training: one loop for every network; an interrupted training resumes exactly (notebook 05_train)."""

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
import tqdm

from nnss_utils.errors import InputError, progress_bar, tell
from nnss_utils.instruments.pair import Pair
from nnss_utils.model.missing_keys import borrow_keys
from nnss_utils.model.model_file import TrainedModel, read_metadata, save_model
from nnss_utils.model.settings import Settings
from nnss_utils.paths import RUNS, reason_of, relative, run_file, training_lock, write_json
from nnss_utils.provenance import commit, versions
from nnss_utils.training.checkpoint import Progress, interruptible, restore_checkpoint, save_checkpoint
from nnss_utils.training.dataset import Dataset
from nnss_utils.training.loss_model import LossModel, prepare
from nnss_utils.training.prefetch import WORKERS, batches_ahead, on_device

CHECKPOINT_SECONDS = 60.0  # between two checkpoints at most
CHECKPOINT_SHARE = 0.03  # of the time that writing them may take
VALIDATION_STEPS = 50
READ_STEPS = 10  # between two readings of the losses
WARM_UP_STEPS = 30
SLACK = 0.15  # share of the time by which steps may lag before the clock sets the learning rate
DIVERGED = 100  # a loss above this many times that of the first steps has diverged
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"


class Probe(Protocol):
    """A progress callback of a training (notebook.live.TrainingView); its time does not count as training's."""

    def due(self, progress: Progress) -> bool:
        """Return whether it is time to be called."""

    def __call__(self, progress: Progress, model: TrainedModel) -> None:
        """Show or measure the current model."""


def fingerprint(settings: Settings, pair: Pair) -> str:
    """Return a digest of everything that decides the result of a training."""
    return hashlib.sha256(json.dumps([settings.to_dict(), pair.digests], sort_keys=True).encode()).hexdigest()


def is_trained(settings: Settings, pair: Pair) -> bool:
    """Return whether the model of these settings and this pair exists already."""
    path = run_file(settings.name)
    return path.is_file() and read_metadata(path)["training"].get("fingerprint") == fingerprint(settings, pair)


def learning_rate(settings: Settings, progress: Progress) -> float:
    """Return the rate of the next step: a short warm-up, then half a cosine over the steps. It follows the clock only
    on a machine so slow that time runs out first, by more than SLACK."""
    training = settings.training
    time_done = progress.seconds / training.seconds
    done = min(1.0, max(progress.step / training.steps, time_done - SLACK * (1 - time_done)))
    warm_up = min(1.0, (progress.step + 1) / WARM_UP_STEPS)
    return training.learning_rate * warm_up * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))


def train(pair: Pair, settings: Settings, probe: Probe | None = None) -> TrainedModel:
    """Train a network on a pair, save it under data/runs/NAME and return it; `probe` changes nothing. An interrupted
    training of the same settings and pair resumes. Raises `InputError` for a pair that can't teach, a name that another
    process is training, and a training that diverges or can't be written (the last good checkpoint is kept); raises
    KeyboardInterrupt after an interruption, with the checkpoint saved."""
    with training_lock(settings.name):
        return _train(pair, settings, probe)


def _train(pair: Pair, settings: Settings, probe: Probe | None) -> TrainedModel:
    loss_model, dataset = prepare(pair, settings)
    network, folder = loss_model.network, RUNS / settings.name
    identity = fingerprint(settings, pair)
    checkpoint = folder / f"checkpoint_{identity[:8]}.keras"
    _check_room(folder, 4 * network.count_params())
    progress = restore_checkpoint(checkpoint, network, loss_model.optimizer)
    origin = {"fingerprint": identity, "made_with": {"versions": versions(), "commit": commit(), "data": pair.digests}}

    def now() -> TrainedModel:
        return trained_model(loss_model, dataset, pair, origin | _summary(progress, loss_model, pair))

    def call_probe() -> None:
        if probe is not None and probe.due(progress):
            probe(progress, now())

    def keep() -> None:
        save_checkpoint(checkpoint, now(), loss_model.optimizer, progress)

    _loop(loss_model, dataset, progress, keep, call_probe)
    if probe is not None:
        probe(progress, now())
    heard, (low, high) = {note.pitch for note in pair.notes}, pair.pitches
    if untrained := sorted(set(range(low, high + 1)) - heard):
        tell(f"the pair has no note of the pitches {', '.join(map(str, untrained))}: they follow the keys around them")
    model = now() if settings.network.kind.modes else borrow_keys(now(), heard)
    try:
        write_json(folder / "training.json", {"settings": settings.to_dict(), **model.training, **progress.curves()})
        save_model(run_file(settings.name), model)
    except OSError as error:
        kept = f"{relative(checkpoint)} is kept: " if checkpoint.is_file() else ""
        what = f"{relative(run_file(settings.name))} can't be written ({reason_of(error)})"
        raise InputError(f"{what}; {kept}make room and run it again") from None
    checkpoint.unlink(missing_ok=True)
    return borrow_keys(model, heard)


def _check_room(folder: Path, size: int) -> None:
    """Raise `InputError` if a disk has no room for a model of `size` bytes; warn if it has none for checkpoints."""
    free, least, most = shutil.disk_usage(folder).free, 1.1 * size, 8 * size  # a checkpoint is three models, twice
    room = f"{relative(folder)} has {free / 1e6:.0f} MB of room"
    if free < least:
        raise InputError(f"{room}, the model alone needs {least / 1e6:.0f} MB; make room and run it again")
    if free < most:
        tell(f"{room}; checkpoints and model may need {most / 1e6:.0f} MB")


def _summary(progress: Progress, loss_model: LossModel, pair: Pair) -> dict:
    """Return the record of a training so far."""
    return {
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "parameters": loss_model.network.count_params(),
        "train_loss": progress.train_loss[-1] if progress.train_loss else None,
        "validation_loss": progress.validation[-1][1] if progress.validation else None,
        "pair": pair.description,
        "keys": sorted({note.pitch for note in pair.notes}),
        "late": pair.offset,  # the name that models have had since format 1
    }


def trained_model(loss_model: LossModel, dataset: Dataset, pair: Pair, record: dict) -> TrainedModel:
    """Return the model of a training, ready to be used or saved; `record`: the record of the training."""
    return TrainedModel(
        loss_model.network, loss_model.settings, dataset.tuning, loss_model.output_scale, pair.instrument,
        *pair.pitches, dataset.heard, record,
    )  # fmt: skip


def _loop(loss_model: LossModel, dataset: Dataset, progress: Progress, keep: Callable, call_probe: Callable) -> None:
    """Take steps until steps or seconds are done; `keep` writes a checkpoint, `call_probe` calls a probe when due."""
    settings = loss_model.settings
    steps, seconds = settings.training.steps, settings.training.seconds
    validation = on_device(dataset.validation_batch())
    losses = []  # of the steps since they were last read
    started, before = time.monotonic(), progress.seconds
    saved, cost = started, 1 / 30
    with (
        interruptible() as interrupted,
        ThreadPoolExecutor(WORKERS) as pool,
        progress_bar(total=100, desc=f"training {settings.name}", unit="%", bar_format=BAR) as bar,
    ):
        batches = batches_ahead(pool, dataset, progress.step, steps, settings.training.echo)
        while progress.step < steps and progress.seconds < seconds:
            batch = next(batches)
            loss_model.optimizer.learning_rate.assign(learning_rate(settings, progress))
            losses.append(loss_model.step(batch))
            progress.step += 1
            progress.seconds = before + time.monotonic() - started
            last = progress.step >= steps or progress.seconds >= seconds
            due = not last and time.monotonic() - saved > min(CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE)
            if last or due or progress.step % READ_STEPS == 0:
                _read(losses, progress, settings)
                paused = time.monotonic()
                call_probe()
                probing = time.monotonic() - paused
                started, saved = started + probing, saved + probing
            if validation and (last or progress.step % VALIDATION_STEPS == 0):
                value = float(loss_model.test_on_batch(validation.inputs, validation.target))
                progress.validation.append((progress.step, value))
            _show(bar, progress, settings)
            stopped = interrupted.is_set() and not last
            if due or stopped:
                _read(losses, progress, settings)
                saved = time.monotonic()
                written = _try_to(keep)
                cost = time.monotonic() - saved
                saved += cost
            if stopped:
                bar.close()
                kept = f"its checkpoint keeps step {progress.step}" if written else "its last checkpoint is kept"
                tell(f"training {settings.name} interrupted; {kept}: run the same again to resume")
                raise KeyboardInterrupt


def _try_to(keep: Callable[[], None]) -> bool:
    """Write a checkpoint and return whether it could be written; a full disk prints a warning, training continues."""
    try:
        keep()
    except OSError as error:
        tell(f"the checkpoint can't be written ({reason_of(error)}): training continues without it; make room")
        return False
    return True


def _read(losses: list, progress: Progress, settings: Settings) -> None:
    """Move the losses of the last steps from the device to `progress`; raises `InputError` if they diverge."""
    values, how = [float(loss) for loss in losses], ""
    finite = next((i for i, value in enumerate(values) if not math.isfinite(value)), len(values))
    progress.train_loss += values[:finite]
    losses.clear()
    first, latest = progress.train_loss[:READ_STEPS], progress.train_loss[-VALIDATION_STEPS:]
    if finite < len(values):
        how = "is not a number"
    elif len(progress.train_loss) > VALIDATION_STEPS and np.mean(latest) > DIVERGED * np.median(first):
        how = f"rose from {np.median(first):.3g} to {np.mean(latest):.3g}"
    if how:
        raise InputError(
            f"training of {settings.name} diverged at step {len(progress.train_loss)}: its loss {how}; the last good "
            f"checkpoint is kept; give a learning_rate below {settings.training.learning_rate:g}"
        )


def _show(bar: tqdm.tqdm, progress: Progress, settings: Settings) -> None:
    """Update the progress bar, a few times a second."""
    done = max(progress.step / settings.training.steps, progress.seconds / settings.training.seconds)
    validation = f" validation {progress.validation[-1][1]:.5f}" if progress.validation else ""
    loss = f" loss {progress.train_loss[-1]:.5f}" if progress.train_loss else ""
    bar.set_postfix_str(f"step {progress.step}{loss}{validation}", refresh=False)
    bar.update(min(100.0, 100 * done) - bar.n)
