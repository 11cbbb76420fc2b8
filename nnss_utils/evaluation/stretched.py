"""What a sampler makes of few recordings: the baseline of keys and velocities that were never heard."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import soxr

from nnss_utils.instruments.base import Instrument, sum_voices
from nnss_utils.instruments.dynamics import crossfade
from nnss_utils.midi import Note, nearest_key, samples_of


class StretchedSampler:
    """An instrument of which only some keys and velocities are recorded. Another key is the nearest recorded one,
    resampled; a velocity between two recorded ones is a crossfade of both, beyond them the nearest one. A tie between
    two keys goes to the lower one."""

    grid = 1

    def __init__(self, instrument: Instrument, keys: Iterable[int], velocities: Iterable[int]) -> None:
        """Record `keys` and `velocities` of an instrument; `name`, `low` and `high` are the instrument's."""
        self.keys, self.velocities = set(keys), sorted(set(velocities))
        self.name, self.low, self.high = f"stretched {instrument.name}", instrument.low, instrument.high
        self.recording = lru_cache(maxsize=64)(lambda note: instrument.render([note]))

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's sound from its first sample on, float32 (samples,)."""
        key = nearest_key(note.pitch, self.keys)
        faster = 2 ** ((note.pitch - key) / 12)
        parts = [
            (0, np.float32(share) * self.recording(Note(0.0, faster * note.duration, key, velocity)))
            for velocity, share in crossfade(note.velocity, self.velocities)
        ]
        sound = sum_voices(parts, max(len(part) for _, part in parts))
        return soxr.resample(sound, faster, 1, quality="VHQ") if key != note.pitch else sound

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,)."""
        notes = sorted(notes, key=lambda note: replace(note, start=0.0, end=note.duration))
        voices = [(samples_of(note)[0], self.voice(note)) for note in notes]
        return sum_voices(voices, max((start + len(sound) for start, sound in voices), default=0))
