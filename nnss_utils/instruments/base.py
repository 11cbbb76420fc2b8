"""What every instrument shares: sample-exact, deterministic, 44.1 kHz mono float32 (notebook 01_codification)."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.midi import Note

VELOCITY_EXPONENT = 2.0  # amplitude = (velocity / 127)^2, as synthesizers do
OWN_RECORDING = "own recording"  # how the name of an instrument begins that is only known from a recording


class Instrument(Protocol):
    """What turns notes into sound: name, lowest and highest pitch, and the grid (samples) its notes start on."""

    name: str
    low: int
    high: int
    grid: int

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,), until the last release has ended."""


def velocity_gain(velocity: int | np.ndarray) -> float | np.ndarray:
    """Return the amplitude of a velocity 1..127; it is 1 at 127."""
    return (velocity / 127) ** VELOCITY_EXPONENT


def on_grid(notes: Iterable[Note], grid: int) -> list[Note]:
    """Return notes whose starts and lengths are multiples of `grid` samples, as the instrument will play them."""
    if grid == 1:
        return list(notes)
    unit = grid / SAMPLE_RATE
    moved = []
    for note in notes:
        start, held = round(note.start / unit), max(1, round(note.duration / unit))
        moved.append(Note(start * unit, (start + held) * unit, note.pitch, note.velocity))
    return moved


def sum_voices(voices: Iterable[tuple[int, np.ndarray]], samples: int) -> np.ndarray:
    """Return the sum of voices (first sample, sound), float32 (samples,)."""
    out = np.zeros(samples, np.float32)
    for start, sound in voices:
        out[start : start + len(sound)] += sound
    return out
