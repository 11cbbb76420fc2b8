"""The origin of a model or a result, which it stores: versions, commit and digests of its data."""

import contextlib
import hashlib
import importlib.metadata
import resource
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from nnss_utils.midi import Note
from nnss_utils.paths import ROOT, release_pages

PACKAGES = ("nnss", "keras", "tensorflow", "tensorflow-cpu", "numpy", "scipy", "librosa", "soxr", "mido", "soundfile")


def versions() -> dict[str, str]:
    """Return the versions of Python, of this project and of the libraries that make the numbers."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # another backend, or not installed
            found[name.removesuffix("-cpu")] = importlib.metadata.version(name)
    return found


def commit() -> str:
    """Return the commit that is checked out, with "+" if the code differs from it; "unknown" without git."""
    git = ["git", "-C", str(ROOT)]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL).strip()
        changed = subprocess.run([*git, "status", "--porcelain", "nnss_utils"], capture_output=True, text=True).stdout
        return head + ("+" if changed.strip() else "")
    return "unknown"


def data_digests(notes: Sequence[Note], audio: np.ndarray) -> dict[str, str]:
    """Return the SHA-256 of notes (their times as exact decimals) and of audio, float32 (samples,)."""
    digest = hashlib.sha256()
    for at in range(0, len(audio), 2**22):
        digest.update(np.ascontiguousarray(audio[at : at + 2**22]).data)
        release_pages(audio)
    return {"notes_sha256": hashlib.sha256(repr(tuple(notes)).encode()).hexdigest(), "audio_sha256": digest.hexdigest()}


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def made_with(notes: Sequence[Note], audio: np.ndarray) -> dict:
    """Return what every result stores about its origin: versions, commit and digests of its data."""
    return {"versions": versions(), "commit": commit(), "data": data_digests(notes, audio)}
