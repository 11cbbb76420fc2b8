"""A small training in a process of its own, killed and started again: `python tests/interrupt.py 20` kills 20 times.

test_interruptions runs a short form of it. As a script with `train` it is the training that is killed.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SETTINGS = {"units": 12, "batch": 20, "frames": 8, "holdout": 0.1}


def train(name: str, steps: int, checkpoint_seconds: float, largest_file: int = 0) -> None:
    """Train under a name; checkpoint_seconds 0: after every step; largest_file: bytes that a file may have."""
    from nnss_utils.errors import InputError
    from nnss_utils.instruments.pair import make_pair
    from nnss_utils.instruments.steinway import Steinway
    from nnss_utils.model.settings import make_settings
    from nnss_utils.scores import scale_sequence
    from nnss_utils.training import train

    train.CHECKPOINT_SECONDS = checkpoint_seconds
    pair = make_pair(scale_sequence(60, 64, repetitions=1, longest=0.5, sustained=0), Steinway())
    if largest_file:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    try:
        train.train(pair, make_settings(name=name, steps=steps, **SETTINGS))
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def start(home: Path, name: str, steps: int, checkpoint_seconds: float = 0.0, largest_file: int = 0):
    """Start a training in a process of its own, its files under `home`, and return the process."""
    return subprocess.Popen(
        [sys.executable, __file__, "train", name, str(steps), str(checkpoint_seconds), str(largest_file)],
        env={**os.environ, "NNSS_HOME": str(home)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def files_of(home: Path, name: str) -> set[str]:
    """Return the names of the files under a training's name."""
    return {path.name for path in (home / "data" / "runs" / name).glob("*")}


def wait_for_checkpoint(process, home: Path, name: str) -> None:
    """Return when a training has written a checkpoint, or has ended."""
    while process.poll() is None and not any("checkpoint" in f and f[0] != "." for f in files_of(home, name)):
        time.sleep(0.02)


def curve_of(home: Path, name: str) -> np.ndarray:
    """Return a finished training's losses."""
    from nnss_utils.paths import read_json

    return np.array(read_json(home / "data" / "runs" / name / "training.json")["train_curve"])


def kill_and_resume(home: Path, name: str, steps: int, kills: int, seed: int = 0) -> dict[str, int]:
    """Train, killing at random moments, many of them while a checkpoint is written; return what was seen.

    Raises AssertionError unless after every kill the last whole checkpoint can be loaded as a model.
    """
    from nnss_utils.model.model_file import load_model

    chance, seen = random.Random(seed), {"kills": 0, "while a checkpoint was written": 0, "checkpoints that play": 0}
    while seen["kills"] < kills:
        process = start(home, name, steps, chance.choice((0.0, 0.5, 0.5)))
        wait_for_checkpoint(process, home, name)
        time.sleep(chance.uniform(0, 1.5))
        if chance.random() < 0.3:
            while process.poll() is None and not any(".part" in file for file in files_of(home, name)):
                time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break  # it was done
        seen["kills"] += 1
        seen["while a checkpoint was written"] += any(".part" in file for file in files_of(home, name))
        checkpoints = [file for file in files_of(home, name) if file.startswith("checkpoint")]
        assert len(checkpoints) == 1, checkpoints
        load_model(str(home / "data" / "runs" / name / checkpoints[0]))
        seen["checkpoints that play"] += 1
    process = start(home, name, steps, 60)
    said, errors = process.communicate()
    assert process.returncode == 0 and (seen["kills"] == 0 or "resuming from step" in said), errors
    return seen


def main(kills: int) -> None:
    """Kill a training so many times, compare it with one that was left alone, and say what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        home, steps = Path(folder), 40 * kills
        whole = start(home, "whole", steps, 60)
        whole.communicate()
        for what, count in kill_and_resume(home, "killed", steps, kills).items():
            print(f"{count:>8}  {what}")
        difference = np.abs(curve_of(home, "killed") - curve_of(home, "whole"))
        print(f"{len(difference):>8}  steps; largest difference of a loss {difference.max():.3g}")
        print(f"          files left: {', '.join(sorted(files_of(home, 'killed')))}")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
    else:
        main(int(sys.argv[1]))
