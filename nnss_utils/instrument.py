"""Instruments: notes in, 44.1 kHz mono float32 out, sample-exact and deterministic (notebook 01_codification).

Three ways to a training pair: the sampled Steinway, any SoundFont (soundfont.py), or one's own recording (pair.py).
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import numpy as np

from nnss_utils.errors import InputError
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.samples import HIGH, LOW, iowa_folder
from nnss_utils.spectral import SAMPLE_RATE

VELOCITY_EXPONENT = 2.0  # amplitude = (velocity / 127)^2, as synthesizers do


class Instrument(Protocol):
    """What turns notes into sound: name, lowest and highest pitch, and the grid (samples) its notes start on."""

    name: str
    low: int
    high: int
    grid: int

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,), until the last release has ended."""


def velocity_gain(velocity: int) -> float:
    """Return the amplitude of a velocity 1..127, 1 at 127."""
    return (velocity / 127) ** VELOCITY_EXPONENT


def release_samples(pitch: int) -> int:
    """Return how many samples the damper takes to silence a key: 0.32 s in the bass to 0.12 s in the treble."""
    return int(SAMPLE_RATE * np.interp(pitch, (21, 108), (0.32, 0.12)))


@lru_cache(maxsize=128)
def release_curve(pitch: int) -> np.ndarray:
    """Return the damper's gain from the note's end on: exponential, down 40 dB and bent to 0 at its end."""
    t = np.arange(release_samples(pitch)) / release_samples(pitch)
    curve = (np.exp(-4.6 * t) * (1 - t**2)).astype(np.float32)
    curve.setflags(write=False)
    return curve


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


def damped(sound: np.ndarray, held: int, pitch: int) -> np.ndarray:
    """Return `sound` (samples,) of a key held for so many samples, then damped."""
    curve = release_curve(pitch)
    voice = sound[: held + len(curve)].astype(np.float32)
    tail = voice[held:]
    tail *= curve[: len(tail)]
    return voice


def sum_voices(voices: Iterable[tuple[int, np.ndarray]], samples: int) -> np.ndarray:
    """Return the sum of voices (first sample, sound), float32 (samples,)."""
    out = np.zeros(samples, np.float32)
    for start, sound in voices:
        out[start : start + len(sound)] += sound
    return out


class SampledPiano:
    """The Iowa Steinway: one recording a key, velocity as gain, a damper at the note's end."""

    name = "steinway"
    low, high = LOW, HIGH
    grid = 1

    def __init__(self) -> None:
        folder = iowa_folder()
        self.keys = {
            pitch: np.load(folder / f"{pitch}.npy", mmap_mode="r", allow_pickle=False) for pitch in range(LOW, HIGH + 1)
        }

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's sound from its first sample on, float32 (samples,)."""
        _, held = samples_of(note)
        return damped(self.keys[note.pitch], held, note.pitch) * np.float32(velocity_gain(note.velocity))

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,); raises `InputError` for a pitch it lacks."""
        notes = list(notes)
        check_range(notes, self.low, self.high, f"the instrument {self.name}")
        samples = max((sum(samples_of(note)) + release_samples(note.pitch) for note in notes), default=0)
        return sum_voices(((samples_of(note)[0], self.voice(note)) for note in notes), samples)


def grid_of(name: str) -> int:
    """Return the grid (samples) of the instrument called `name`, without making it ready to play."""
    if is_soundfont(name):
        from nnss_utils.soundfont import BLOCK

        return BLOCK
    return SampledPiano.grid


def is_soundfont(name: str) -> bool:
    """Return whether an instrument's name is the path of a SoundFont."""
    return isinstance(name, str) and name.lower().endswith((".sf2", ".sf3"))


def load_instrument(name: str) -> Instrument:
    """Return the instrument called `name`: "steinway", or the path of a SoundFont (.sf2, .sf3)."""
    if name == SampledPiano.name:
        return SampledPiano()
    if is_soundfont(name):
        from nnss_utils.soundfont import SoundFont  # optional extra: it needs the fluidsynth library

        return SoundFont(name)
    raise InputError(f'instrument={name!r} is unknown; use "steinway" or the path of a SoundFont (.sf2 or .sf3)')
