"""MIDI files that a visitor of a page gives: bounded, checked, and refused in one line (notebook 10_play)."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from nnss_utils import listening
from nnss_utils.errors import InputError
from nnss_utils.midi import MOST_BYTES, Note, read_midi

MOST_SECONDS = 600.0  # of music
MOST_NOTES = 20_000
MOST_AT_ONCE = 128  # notes


class MidiDrop(anywidget.AnyWidget):
    """A place in the page to drop a MIDI file, or to choose one; it sends {type, name} and the file's bytes.

    Unlike ipywidgets' FileUpload it takes a file by drag and drop, and keeps too large ones in the page: 50 MB sent to
    the server cut the connection for good.
    """

    _esm, _css = listening.BROWSER / "drop.js", listening.STYLE
    label = traitlets.Unicode("Drop a MIDI file here, or choose one").tag(sync=True)
    accept = traitlets.Unicode(".mid,.midi,audio/midi").tag(sync=True)
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)


def received(message: dict, buffers: Sequence[memoryview]) -> tuple[str, bytes]:
    """Return the name and the bytes of a file that was dropped; raises `InputError` if it was too large to be sent."""
    name = Path(str(message.get("name", "")).replace("\\", "/")).name[:80] or "the file"
    content = bytes(buffers[0]) if buffers else b""
    size = max(len(content), float(message.get("bytes") or 0))
    if size > MOST_BYTES:
        raise InputError(f"{name} has {size / 1e6:.1f} MB; give a MIDI file of at most {MOST_BYTES / 1e6:g} MB")
    return name, content


def read_upload(name: str, content: bytes) -> list[Note]:
    """Return the notes of a MIDI file's bytes; raises `InputError` that names the file, and nothing of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload.mid"
        path.write_bytes(content)
        try:
            notes = read_midi(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
    check_piece(notes)
    return notes


def check_piece(notes: Sequence[Note]) -> None:
    """Raise `InputError` if a piece is too long or has too many notes, in all or at once, for a page to render."""
    seconds, at_once = max(note.end for note in notes), most_at_once(notes)
    elsewhere = "render it with notebook 06_evaluation"
    if seconds > MOST_SECONDS:
        raise InputError(
            f"{seconds / 60:.0f} minutes of music: this page renders at most {MOST_SECONDS / 60:.0f}; {elsewhere}"
        )
    if at_once > MOST_AT_ONCE:
        raise InputError(f"{at_once} notes sound at once: this page renders at most {MOST_AT_ONCE}; {elsewhere}")
    if len(notes) > MOST_NOTES:
        raise InputError(f"{len(notes)} notes: this page renders at most {MOST_NOTES}; {elsewhere}")


def most_at_once(notes: Sequence[Note]) -> int:
    """Return how many notes sound at once at the most; one that ends where another starts does not."""
    events = sorted([(note.start, 1) for note in notes] + [(note.end, -1) for note in notes])
    return int(np.cumsum([change for _, change in events]).max(initial=0))
