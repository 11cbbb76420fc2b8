"""File locations, atomic writes, and the lock of a training."""

import contextlib
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np

from nnss_utils.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("NNSS_HOME", ROOT))  # tests write elsewhere
CACHE, MODELS, COMMITTED_RESULTS = (ROOT / "data" / name for name in ("cache", "models", "results"))
RUNS, RENDERS, RESULTS = (HOME / "data" / name for name in ("runs", "renders", "results"))
IMAGES = HOME / "img"
PRETRAINED = MODELS / "steinway.keras"  # the model that the project ships


def relative(path: Path) -> str:
    """Return a path relative to the project where it lies inside it, else as it is."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def run_file(name: str) -> Path:
    """Return the path of the model that a training called `name` makes."""
    return RUNS / name / "model.keras"


def safe_name(name: object, what: str = "name") -> str:
    """Return `name` if it can be a file's name (letters, digits, `.`, `-`, `_`), else raise `InputError`."""
    if not isinstance(name, str) or not name.strip(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise InputError(f"{what}={name!r} can't name a file; use letters, digits, '-', '_' and '.' only")
    return name


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` only if the block ends without an error. The bytes are on
    the disk before the file is renamed: a full disk or a power cut leaves no half file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def training_lock(name: str) -> Iterator[None]:
    """Let only one process at a time train under a name; raises `InputError` in the second. The system releases the
    lock when a process ends in any way. Half-written files of a killed one are deleted."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(RUNS / f".{name}.lock").acquire(timeout=0)
    except filelock.Timeout:
        reason = f"another process is training {name!r} in {relative(folder)}"
        raise InputError(f"{reason}; wait for it, or give another name") from None
    with lock:
        for part in folder.glob(".*.part*"):
            part.unlink()
        yield


def write_json(path: Path, content: dict | list, indent: int | None = 1) -> Path:
    """Write `content` as JSON (never NaN), whole or not at all, and return the path; no `indent`: one line."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")
    return path


def read_json(path: Path) -> dict:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())


def release_pages(array: np.ndarray) -> None:
    """Free the memory of an array that is mapped from a file; the system reads it again when needed."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.madvise(mmap.MADV_DONTNEED)
