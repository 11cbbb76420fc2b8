"""Codification: the sound of sines that tells the network what is played (notebook 01_codification).

Two kinds: the seed's two sines a note, and the inharmonic one, a tone with every partial of the piano's own
tuning beside an impulse at each note-on and note-off.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from nnss_utils.config import Codification
from nnss_utils.midi import PITCHES, Note, samples_of
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.tuning import Tuning

CHIRP_SECONDS = 5.0
NOTE_OFF_AMPLITUDE = -0.2  # of the impulse at a note's end; 1 at its start
_STRETCH = 30 * SAMPLE_RATE
_BLOCK = 512  # samples that one product of phasors makes


def two_sines(notes: Iterable[Note], samples: int, *, velocity: bool = False) -> np.ndarray:
    """Return the seed's codification, float32 (1, samples): two sines a note, their sum clipped at +1.

    sin(pi t note / (127 * 1.5)), linear in the note's number, and the chirp sin(pi t (1 - t / 5 s)) that tells
    how long the note has sounded; t in samples from the note's start. With `velocity`, times velocity / 127.
    """
    out = np.zeros(samples, np.float32)
    for note in notes:
        start, held = samples_of(note)
        t = np.arange(max(0, min(held, samples - start)), dtype=np.float64)
        tone = np.sin(np.pi * t * note.pitch / (127 * 1.5))
        chirp = np.sin(np.pi * t * (1 - t / (CHIRP_SECONDS * SAMPLE_RATE)))
        out[start : start + len(t)] += (tone + chirp) * (note.velocity / 127 if velocity else 1.0)
    return np.minimum(out, 1.0)[None]


def harmonic_tone(frequencies: np.ndarray, samples: int) -> np.ndarray:
    """Return sum_h h^(-1/2) sin(2 pi f_h t), float32 (samples,): every partial with phase 0 at the start.

    Each block of samples is its first sample's phasors times one common block of phasors, so a matrix product
    makes the whole (angle addition); phases are exact in float64, amplitudes to 1e-6.
    """
    omega = 2 * np.pi * np.asarray(frequencies, np.float64) / SAMPLE_RATE
    amplitudes = 1 / np.sqrt(np.arange(1, len(omega) + 1))
    starts = np.arange(-(-samples // _BLOCK))[:, None] * _BLOCK
    outer = starts * omega
    inner = omega[:, None] * np.arange(_BLOCK)
    left = np.concatenate([np.sin(outer) * amplitudes, np.cos(outer) * amplitudes], axis=1).astype(np.float32)
    right = np.concatenate([np.cos(inner), np.sin(inner)]).astype(np.float32)
    return (left @ right).ravel()[:samples]


@lru_cache(maxsize=16)
def release_fade(seconds: float) -> np.ndarray:
    """Return the gain of a voice after its note's end: half a cosine from 1 to 0, float32."""
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(round(seconds * SAMPLE_RATE)) / (seconds * SAMPLE_RATE))
    fade = fade.astype(np.float32)
    fade.setflags(write=False)
    return fade


class ToneTable:
    """Each key's endless tone, made once up to the longest note asked for: notes are slices of it."""

    def __init__(
        self, tuning: Tuning, notes: Iterable[Note], codification: Codification, *, most: int | None = None
    ) -> None:
        """Make the tones of the pitches of `notes`, each as long as its longest note and the release.

        most: samples that are kept when more are added; None: all.
        """
        self.fade = release_fade(codification.release)
        self.tuning, self.most, self.sounds = tuning, most, codification.tone
        self.highest = None if codification.partials == 0 else codification.partials
        self._forget()
        self.add((note.pitch, samples_of(note)[1]) for note in notes)

    def _forget(self) -> None:
        self._all = np.zeros(0, np.float32)  # all tones, one after the other
        self._begin = np.zeros(PITCHES, np.int64)  # where each pitch's tone begins in it
        self._length = np.zeros(PITCHES, np.int64)

    def add(self, voices: Iterable[tuple[int, int]]) -> None:
        """Make what is missing for voices given as (pitch, samples held)."""
        wanted: dict[int, int] = {}
        for pitch, held in voices:
            wanted[pitch] = max(wanted.get(pitch, 0), held + len(self.fade))
        missing = {pitch: length for pitch, length in wanted.items() if length > self._length[pitch]}
        if self.most is not None and missing and len(self._all) + sum(missing.values()) > self.most:
            self._forget()
            missing = wanted
        end = len(self._all)
        self._all = np.concatenate([self._all, np.zeros(sum(missing.values()), np.float32)]) if missing else self._all
        for pitch, length in missing.items():
            self._begin[pitch], self._length[pitch] = end, length
            if self.sounds:
                frequencies = self.tuning.partials(pitch)[: self.highest]
                self._all[end : end + length] = harmonic_tone(frequencies, length)
            end += length

    def copy_many(self, out: np.ndarray, pitch: np.ndarray, held: np.ndarray, first: np.ndarray) -> None:
        """Do for every row of `out` (voices, samples) what `copy` does for one; the others are arrays (voices,)."""
        width = out.shape[1]
        whole = (first >= 0) & (first + width <= held)  # nothing but tone: the most frequent case, at once
        if whole.any():
            windows = np.lib.stride_tricks.sliding_window_view(self._all, width)
            out[whole] = windows[self._begin[pitch[whole]] + first[whole]]
        for i in np.flatnonzero(~whole):
            self.copy(out[i], int(pitch[i]), int(held[i]), int(first[i]))

    def copy(self, out: np.ndarray, pitch: int, held: int, first: int) -> None:
        """Write a voice's samples first, first + 1, ... (from its note's start) over the zeros of `out`."""
        begin, end = max(first, 0), min(first + len(out), held + len(self.fade))
        if begin >= end:
            return
        part = out[begin - first : end - first]
        part[:] = self._all[self._begin[pitch] + begin : self._begin[pitch] + end]
        if end > held:
            tail = part[max(held - begin, 0) :]
            fade_from = max(begin - held, 0)
            tail *= self.fade[fade_from : fade_from + len(tail)]

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's whole tone, float32 (samples,)."""
        _, held = samples_of(note)
        out = np.zeros(held + len(self.fade), np.float32)
        self.copy(out, note.pitch, held, 0)
        return out


def inharmonic(notes: Iterable[Note], samples: int, tuning: Tuning, codification: Codification) -> np.ndarray:
    """Return the inharmonic codification, float32 (2, samples): the tone channel and the impulse channel."""
    notes = list(notes)
    table = ToneTable(tuning, notes, codification)
    out = np.zeros((2, samples), np.float32)
    for note in notes:
        start, held = samples_of(note)
        gain = note.velocity / 127 if codification.velocity else 1.0
        voice = table.voice(note)[: max(0, samples - start)]
        out[0, start : start + len(voice)] += np.float32(gain) * voice
        for at, amplitude in ((start, 1.0), (start + held, NOTE_OFF_AMPLITUDE)):
            if at < samples and codification.impulse != "none":
                out[1, at] += gain * amplitude
    return out


def codify(
    notes: Iterable[Note], samples: int, codification: Codification, tuning: Tuning | None, first: int = 0
) -> np.ndarray:
    """Return `samples` samples from sample `first` on of the codification of notes, float32 (channels, samples)."""
    release = round(codification.release * SAMPLE_RATE)
    spans = [(note, *samples_of(note)) for note in notes]
    heard = [(n, start, held) for n, start, held in spans if start < first + samples and start + held + release > first]
    base = min([first, *(start for _, start, _ in heard)])
    moved = [
        Note((start - base) / SAMPLE_RATE, (start - base + held) / SAMPLE_RATE, n.pitch, n.velocity)
        for n, start, held in heard
    ]
    if codification.kind == "two_sines":
        whole = two_sines(moved, first - base + samples, velocity=codification.velocity)
    else:
        whole = inharmonic(moved, first - base + samples, tuning, codification)
    return whole[:, first - base :]


def codify_mix(notes: Sequence[Note], samples: int, codification: Codification, tuning: Tuning | None) -> np.ndarray:
    """Return the sum of a codification's channels, float32 (samples,), made in stretches to save memory."""
    out = np.zeros(samples, np.float32)
    for first in range(0, samples, _STRETCH):
        part = out[first : first + _STRETCH]
        part[:] = codify(notes, len(part), codification, tuning, first).sum(axis=0)
    return out
