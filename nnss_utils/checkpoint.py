"""A training's state on disk, whole or not at all, and its orderly interruption (notebook 05_train)."""

import json
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from nnss_utils.paths import shown, whole_file


@dataclass
class Progress:
    """Where a training stands: steps and seconds done, and the losses so far."""

    step: int = 0
    seconds: float = 0.0
    train_loss: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)


def save_checkpoint(
    path: Path, network: keras.Model, optimizer: keras.Optimizer, progress: Progress, identity: str
) -> None:
    """Write weights, optimizer and progress, whole or not at all."""
    arrays = {f"weight{i}": np.asarray(v) for i, v in enumerate(network.weights)}
    arrays |= {f"optimizer{i}": np.asarray(v) for i, v in enumerate(optimizer.variables)}
    state = {
        "identity": identity,
        "step": progress.step,
        "seconds": progress.seconds,
        "validation": progress.validation,
    }
    with whole_file(path) as part:
        np.savez(part, state=json.dumps(state), train_loss=np.array(progress.train_loss), **arrays)


def restore_checkpoint(path: Path, network: keras.Model, optimizer: keras.Optimizer, identity: str) -> Progress:
    """Put a checkpoint of the same training back into network and optimizer; return where it stood."""
    if not path.is_file():
        return Progress()
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = dict(saved)
            state = json.loads(str(arrays["state"]))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        print(f"{shown(path)} is damaged: starting anew")
        return Progress()
    if state["identity"] != identity:
        print(f"{shown(path)} is of other settings or another pair: starting anew")
        return Progress()
    for i, variable in enumerate(network.weights):
        variable.assign(arrays[f"weight{i}"])
    for i, variable in enumerate(optimizer.variables):
        variable.assign(arrays[f"optimizer{i}"])
    print(f"going on from step {state['step']} of {shown(path)}")
    validation = [tuple(pair) for pair in state["validation"]]
    return Progress(state["step"], state["seconds"], arrays["train_loss"].tolist(), validation)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C and termination into an event, so that a step is never cut in two (main thread only)."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    former = [signal.signal(s, lambda *_: event.set()) for s in signals]
    try:
        yield event
    finally:
        for s, handler in zip(signals, former, strict=True):
            signal.signal(s, handler)
