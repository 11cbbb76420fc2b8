"""Every instrument is sample-exact and deterministic, 44.1 kHz mono float32 (notebook 01_codification)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.midi import Note

OWN_RECORDING = "own recording"  # begins the name of an instrument that is known by a recording only


class Instrument(Protocol):
    """Turns notes into sound; it has a name, a range of pitches, and a grid (samples) on which its notes start. One
    whose keys between recordings are resampled may tell the pitches that are `recorded`."""

    name: str
    low: int
    high: int
    grid: int

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,), until the last release has ended."""


def velocity_gain(velocity: int | np.ndarray) -> float | np.ndarray:
    """Return the amplitude of a velocity 1..127; it is 1 at 127 and grows with the square, as in synthesizers."""
    return (velocity / 127) ** 2.0


def on_grid(notes: Iterable[Note], grid: int) -> list[Note]:
    """Return notes whose starts and lengths are multiples of `grid` samples, as the instrument will play them."""
    if grid == 1:
        return list(notes)
    unit = grid / SAMPLE_RATE
    spans = ((note, round(note.start / unit), max(1, round(note.duration / unit))) for note in notes)
    return [replace(note, start=start * unit, end=(start + held) * unit) for note, start, held in spans]


def sum_voices(voices: Iterable[tuple[int, np.ndarray]], samples: int) -> np.ndarray:
    """Return the sum of voices (first sample, sound), float32 (samples,)."""
    out = np.zeros(samples, np.float32)
    for start, sound in voices:
        out[start : start + len(sound)] += sound
    return out
