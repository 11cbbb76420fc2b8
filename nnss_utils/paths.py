"""Where things are: every path starts at one project root, so notebooks work from any folder."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from nnss_utils.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("NNSS_HOME", ROOT))  # tests write elsewhere
CACHE = ROOT / "data" / "cache"
MODELS = ROOT / "data" / "models"
RUNS = HOME / "data" / "runs"
RENDERS = HOME / "data" / "renders"
RESULTS = HOME / "data" / "results"
IMAGES = HOME / "img"


def shown(path: Path) -> str:
    """Return a path as a reader of a log wants it: relative to the project where it lies inside it."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def safe_name(name: object, what: str = "name") -> str:
    """Return `name` if it can be a file's name (letters, digits, `.`, `-`, `_`), else raise `InputError`."""
    if not isinstance(name, str) or not name.strip(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise InputError(f"{what}={name!r} can't name a file; use letters, digits, '-', '_' and '.' only")
    return name


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` only if the block ends without an error.

    Its bytes are on the disk by then: neither a full disk nor a lost power supply leaves half a file.
    """
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


def write_json(path: Path, content: dict | list, indent: int | None = 1) -> Path:
    """Write `content` as JSON (never NaN), on one line without `indent`, whole or not at all, and return the path."""
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")
    return path


def read_json(path: Path) -> dict:
    """Read a JSON file."""
    return json.loads(Path(path).read_text())
