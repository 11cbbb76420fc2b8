"""A training's state on disk, and the handling of interruptions (notebook 05_train). A checkpoint is a model file like
any other, which can be played, with the optimizer's state in a member of its own."""

import io
import json
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnss_utils.errors import tell
from nnss_utils.model.backend import keras
from nnss_utils.model.model_file import STATE, TrainedModel, load_weights, save_model
from nnss_utils.paths import relative


@dataclass
class Progress:
    """Progress of a training: steps and seconds done, and the losses so far."""

    step: int = 0
    seconds: float = 0.0
    train_loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)

    def curves(self) -> dict:
        """Return the loss curves as lists, for JSON and plots."""
        steps, values = zip(*self.validation, strict=True) if self.validation else ((), ())
        return {"train_curve": self.train_loss, "validation_curve": {"step": list(steps), "loss": list(values)}}


def save_checkpoint(path: Path, model: TrainedModel, optimizer: keras.Optimizer, progress: Progress) -> None:
    """Write a model with its optimizer and progress, whole or not at all; raises `OSError` if it can't be written."""
    state = {"step": progress.step, "seconds": progress.seconds, "validation": progress.validation}
    arrays = {f"optimizer{i}": np.asarray(variable) for i, variable in enumerate(optimizer.variables)}
    content = io.BytesIO()
    np.savez(content, state=json.dumps(state), train_loss=np.array(progress.train_loss), **arrays)
    save_model(path, model, {STATE: content.getvalue()})


def restore_checkpoint(path: Path, network: keras.Model, optimizer: keras.Optimizer) -> Progress:
    """Put a checkpoint back into network and optimizer and return its progress; without one, that of a new start."""
    others = [other for other in sorted(path.parent.glob("checkpoint_*.keras")) if other != path]
    if others:
        start = "" if path.is_file() else ": training starts from the beginning"
        tell(f"{', '.join(map(relative, others))} has other settings or another pair and is kept{start}")
    if not path.is_file():
        return Progress()
    fresh = [np.asarray(weight) for weight in network.weights]
    try:
        with zipfile.ZipFile(path) as archive, np.load(io.BytesIO(archive.read(STATE)), allow_pickle=False) as saved:
            arrays = dict(saved)
        state = json.loads(str(arrays["state"]))
        validation = [tuple(pair) for pair in state["validation"]]
        progress = Progress(state["step"], state["seconds"], arrays["train_loss"].tolist(), validation)
        values = [arrays[f"optimizer{i}"] for i in range(len(optimizer.variables))]
        load_weights(network, path)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        tell(f"{relative(path)} is damaged: training starts from the beginning")
        for weight, value in zip(network.weights, fresh, strict=True):
            weight.assign(value)
        return Progress()
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)
    tell(f"resuming from step {progress.step} of {relative(path)}")
    return progress


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C, termination and a closed terminal into an event, so that no step is cut in two (main thread)."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = [signal.signal(number, lambda *_: event.set()) for number in numbers]
    try:
        yield event
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)
