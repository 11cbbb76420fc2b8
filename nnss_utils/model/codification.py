"""Codification: a sound of sines shows the network which notes are played (notebook 01_codification). Two kinds: the
author's two sines for each note, and the inharmonic one: a tone with every partial of the piano's tuning, and a click
at each note-on and note-off, which is the ringing impulse of inputs.py for mask networks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import read_only
from nnss_utils.errors import check_choice, check_flag, check_number
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import PITCHES, Note, samples_of

NOTE_OFF_AMPLITUDE = -0.2  # of the click at a note's end; 1 at its start
_BLOCK = 512  # samples that one product of phasors makes


@dataclass(frozen=True)
class Codification:
    """How notes become a sound of sines, times in seconds; raises `InputError` for a bad parameter. velocity: whether
    the sound is as loud as the note. release: how long a voice sounds after its note. ring: time constant of the
    impulse in each bin. For ablations (notebook 08): partials: the number in the tone, 0 for all up to 20 kHz; tone:
    whether there is one; impulse: "ringing", "none", or "frame", whose phase counts from each frame."""

    kind: str = "inharmonic"
    velocity: bool = False
    release: float = 0.35
    ring: float = 0.3
    partials: int = 0
    tone: bool = True
    impulse: str = "ringing"

    def __post_init__(self) -> None:
        check_choice("codification", self.kind, ("inharmonic", "two_sines"))
        check_flag("velocity", self.velocity)
        check_number("release", self.release, 0.01, 10)
        check_number("ring", self.ring, 0.001, 10)
        check_number("partials", self.partials, 0, 10000, integer=True)
        check_flag("tone", self.tone)
        check_choice("impulse", self.impulse, ("ringing", "none", "frame"))

    @property
    def release_samples(self) -> int:
        """Samples that a voice sounds after its note."""
        return round(self.release * SAMPLE_RATE)


def two_sines(notes: Iterable[Note], samples: int, first: int = 0, *, velocity: bool = False) -> np.ndarray:
    """Return samples first..first + samples of the author's codification, float32 (1, samples). Two sines a note, their
    sum clipped at +1: sin(pi t note / (127 * 1.5)), linear in the note number, and the chirp sin(pi t (1 - t / 5 s)),
    which shows the note's age; t: samples from its start. `velocity`: times velocity / 127."""
    out = np.zeros(samples, np.float32)
    for note in notes:
        start, held = samples_of(note)
        t = np.arange(max(0, min(held, first + samples - start)), dtype=np.float64)
        sines = np.sin(np.pi * t * note.pitch / (127 * 1.5)) + np.sin(np.pi * t * (1 - t / (5.0 * SAMPLE_RATE)))
        add_part(out, start - first, sines * (note.velocity / 127 if velocity else 1.0))
    return np.minimum(out, 1.0)[None]


def add_part(out: np.ndarray, first: int, voice: np.ndarray) -> None:
    """Add the part of a voice, which begins at sample `first`, that lies in `out`."""
    begin, end = max(0, -first), min(len(voice), len(out) - first)
    if begin < end:
        out[first + begin : first + end] += voice[begin:end]


def harmonic_tone(frequencies: np.ndarray, samples: int) -> np.ndarray:
    """Return sum_h h^(-1/2) sin(2 pi f_h t), float32 (samples,): every partial with phase 0 at the start. A block of
    samples is its first sample's phasors times a common block of phasors (angle addition), so one matrix product makes
    the whole, in float64: a longer tone begins with the samples of a shorter one."""
    omega = 2 * np.pi * np.asarray(frequencies, np.float64) / SAMPLE_RATE
    amplitudes = 1 / np.sqrt(np.arange(1, len(omega) + 1))
    outer = np.arange(-(-samples // _BLOCK))[:, None] * _BLOCK * omega
    inner = omega[:, None] * np.arange(_BLOCK)
    left = np.concatenate([np.sin(outer) * amplitudes, np.cos(outer) * amplitudes], axis=1)
    return (left @ np.concatenate([np.cos(inner), np.sin(inner)])).astype(np.float32).ravel()[:samples]


@lru_cache(maxsize=16)
def release_fade(seconds: float) -> np.ndarray:
    """Return the gain of a voice after its note's end: half a cosine from 1 to 0, float32."""
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(round(seconds * SAMPLE_RATE)) / (seconds * SAMPLE_RATE))
    return read_only(fade.astype(np.float32))


class ToneTable:
    """The tone of each key, made once up to the longest note that is asked for: notes are slices of it."""

    def __init__(
        self, tuning: Tuning, notes: Iterable[Note], codification: Codification, *, most: int | None = None
    ) -> None:
        """Make the tones of `notes` with their release; most: samples kept when more are added, None: no limit."""
        self.fade, self.tuning, self.most = release_fade(codification.release), tuning, most
        self.has_tone, self.highest = codification.tone, codification.partials or None
        self._forget()
        self.add((note.pitch, samples_of(note)[1]) for note in notes)

    def _forget(self) -> None:
        self._all = np.zeros(0, np.float32)  # all tones in a row
        self._begin, self._length = np.zeros((2, PITCHES), np.int64)  # of each pitch's tone in it

    def add(self, voices: Iterable[tuple[int, int]]) -> None:
        """Make what is missing for voices given as (pitch, samples held)."""
        wanted: dict[int, int] = {}
        for pitch, held in voices:
            wanted[pitch] = max(wanted.get(pitch, 0), held + len(self.fade))
        missing = {pitch: length for pitch, length in wanted.items() if length > self._length[pitch]}
        if self.most is not None and missing and len(self._all) + sum(missing.values()) > self.most:
            self._forget()
            missing = wanted
        tones, end = [self._all], len(self._all)
        for pitch, length in missing.items():
            self._begin[pitch], self._length[pitch], end = end, length, end + length
            partials = self.tuning.partials(pitch)[: self.highest] if self.has_tone else ()
            tones.append(harmonic_tone(partials, length))
        self._all = np.concatenate(tones) if missing else self._all

    def copy_many(self, out: np.ndarray, pitch: np.ndarray, held: np.ndarray, first: np.ndarray) -> None:
        """Fill every row of `out` (voices, samples) as `copy` does; the others are arrays (voices,)."""
        width = out.shape[1]
        inside = (first >= 0) & (first + width <= held)  # tone only: the most frequent case, in one step
        if inside.any():
            windows = np.lib.stride_tricks.sliding_window_view(self._all, width)
            out[inside] = windows[self._begin[pitch[inside]] + first[inside]]
        for i in np.flatnonzero(~inside):
            self.copy(out[i], int(pitch[i]), int(held[i]), int(first[i]))

    def copy(self, out: np.ndarray, pitch: int, held: int, first: int) -> None:
        """Write a voice's samples first, first + 1, ... (from its note's start) into `out`, which holds zeros."""
        begin, end = max(first, 0), min(first + len(out), held + len(self.fade))
        if begin >= end:
            return
        part = out[begin - first : end - first]
        part[:] = self._all[self._begin[pitch] + begin : self._begin[pitch] + end]
        if end > held:
            part[max(held - begin, 0) :] *= self.fade[max(begin - held, 0) : end - held]

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's whole tone, float32 (samples,)."""
        held = samples_of(note)[1]
        out = np.zeros(held + len(self.fade), np.float32)
        self.copy(out, note.pitch, held, 0)
        return out


def inharmonic(
    notes: Sequence[Note], samples: int, tuning: Tuning, codification: Codification, first: int = 0
) -> np.ndarray:
    """Return samples first..first + samples of the tone channel and the click channel, float32 (2, samples)."""
    table = ToneTable(tuning, notes, codification)
    out = np.zeros((2, samples), np.float32)
    for note in notes:
        start, held = samples_of(note)
        gain = note.velocity / 127 if codification.velocity else 1.0
        add_part(out[0], start - first, np.float32(gain) * table.voice(note))
        if codification.impulse != "none":
            add_part(out[1], start - first, np.float32([gain]))
            add_part(out[1], start + held - first, np.float32([gain * NOTE_OFF_AMPLITUDE]))
    return out


def codify(
    notes: Iterable[Note], samples: int, codification: Codification, tuning: Tuning | None, first: int = 0
) -> np.ndarray:
    """Return samples first..first + samples of the codification of notes, float32 (channels, samples)."""
    spans = [(note, *samples_of(note)) for note in notes]
    last, release = first + samples, codification.release_samples
    heard = [note for note, start, held in spans if start < last and start + held + release > first]
    if codification.kind == "two_sines":
        return two_sines(heard, samples, first, velocity=codification.velocity)
    return inharmonic(heard, samples, tuning, codification, first)
