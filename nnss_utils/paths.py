"""File locations, atomic writes, and the lock of a training."""

import contextlib
import ctypes
import json
import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np

from nnss_utils.errors import InputError, WriteError

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("NNSS_HOME", ROOT))  # tests write elsewhere
MODELS, COMMITTED_RESULTS = (ROOT / "data" / name for name in ("models", "results"))
RUNS, RENDERS, RESULTS = (HOME / "data" / name for name in ("runs", "renders", "results"))
IMAGES = HOME / "img"


def cache_folder(checkout: Path, home: Path) -> Path:
    """Return the folder of what is made once for all homes: the checkout's, or the home's if that can't be written."""
    shared = checkout / "data" / "cache"
    writable = os.access(shared if shared.exists() else shared.parent, os.W_OK)
    return shared if writable else home / "data" / "cache"


CACHE, SHARED_CACHE = cache_folder(ROOT, HOME), ROOT / "data" / "cache"
LONGEST_NAME = 120  # bytes; with what is added to it, file systems take 255
PRETRAINED = MODELS / "steinway.keras"  # the model that the project ships


def relative(path: Path) -> str:
    """Return a path relative to the project where it lies inside it, else as it is."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def run_file(name: str) -> Path:
    """Return the path of the model that a training called `name` makes."""
    return RUNS / name / "model.keras"


def safe_name(name: object, what: str = "name") -> str:
    """Return `name` if it can be a file's name (letters, digits, `.`, `-`, `_`; no dot first), else raise
    `InputError`."""
    if not isinstance(name, str) or name[:1] in ("", ".") or not all(c.isalnum() or c in "._-" for c in name):
        raise InputError(f"{what}={name!r:.80} can't name a file; use letters, digits, '-', '_' and '.', no dot first")
    if len(name.encode()) > LONGEST_NAME:
        raise InputError(f"{what}={name[:40]!r}... is too long for a file; give at most {LONGEST_NAME} bytes")
    return name


def existing_file(path: str | Path, what: str, error: type[InputError] = InputError) -> Path:
    """Return the path of a file, `~` expanded; raises `error`, which calls it `what`, if it can't be opened."""
    given = str(path)
    try:
        path = Path(given).expanduser()
        with path.open("rb"):
            return path
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{what} {given:.200} does not exist; give the path of one") from None
    except (OSError, ValueError, RuntimeError) as cause:  # no rights, a folder, a name too long, a zero byte, no home
        raise error(f"{what} {given:.200} can't be opened ({getattr(cause, 'strerror', None) or cause})") from None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` only if the block ends without an error. The bytes are on
    the disk before the file is renamed: a full disk or a power cut leaves no half file. Raises `WriteError`."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def reason_of(error: OSError) -> str:
    """Return why something can't be written or read, in the system's words where it has some."""
    return error.strerror or (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system in the block into a `WriteError` of one line."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = reason_of(error)
        where = "make room, or set NNSS_HOME to a folder with room and rights"
        raise WriteError(f"{relative(path)} can't be written ({reason}); {where}", reason) from None


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


def give_back_memory() -> None:
    """Give freed memory back to the system where the C library keeps it, as glibc does."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
