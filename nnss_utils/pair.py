"""Training pairs: a MIDI file and the WAV that an instrument made of it (notebook 01_codification)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnss_utils.midi import Note


@dataclass(frozen=True)
class Pair:
    """Notes and their sound, float32 (samples,) at 44.1 kHz, with who played it and how it came about."""

    notes: tuple[Note, ...]
    audio: np.ndarray
    instrument: str
    description: str
