"""Whether a recording is of its MIDI file: whether the notes' own pitches begin in it where the notes do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal

from nnss_utils.midi import Note
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.tuning import equal_temperament
from nnss_utils.wav import unload

HEARD = 8192  # samples in which a note's pitch is looked for
MOST_HEARD = 400  # notes that are looked for
FEWEST_HEARD = 5  # notes that tell anything
INTERVALS = np.array([k for k in range(-11, 12) if k])  # semitones from a note to those it is compared with
PARTIALS = 8
IN_TUNE = 2 ** (35 / 1200)  # a partial may be off by 35 cents
PITCHES = 128
BELOW, WHOLE = (0.5, 1.5, 2.5, 3.5), (1, 2, 3, 4)  # times a note's frequency: there if it sounds an octave lower
ODD, EVEN = (1, 3, 5), (2, 4, 6)  # the odd ones are missing if it sounds an octave higher
# measured on a fugue and a pedalled prelude, played by the Steinway and instruments of FluidR3; bells and a drawbar
# organ, whose partials are no plain multiples, fall outside
TRANSPOSED_SHARE = 0.25  # by its interval: transposed to 0.18; as written, 21 instruments, from 0.75
TRANSPOSED_LIKENESS = 0.9  # of what is heard instead, as of any recording of its notes
OCTAVE_BELOW = 0.6  # partials between: an octave lower from 0.63; as written, 12 instruments, to 0.46
OCTAVE_ABOVE = 0.1  # odd partials: an octave higher 0.00 on most; as written from 0.52


@dataclass(frozen=True)
class Heard:
    """How the pitches of notes are heard in a recording.

    likeness: how often a note's own pitch rises more at its onset than others within an octave do, 0 to 1: about 1/2
    for a recording of something else. semitones: how much higher than the notes it seems to sound, 0: as written.
    """

    likeness: float
    semitones: int


def hear(audio: np.ndarray, notes: Sequence[Note], offset: float) -> Heard | None:
    """Return how `notes` are heard in audio (samples,) that trails them by `offset` s; None: too few can be told."""
    rises = _rises(audio, notes, offset, MOST_HEARD)
    if len(rises) < FEWEST_HEARD:
        return None
    votes = _votes(notes, rises)
    return Heard(_mean(votes), _transposition(notes, rises, votes) or _octaves(rises))


def likeness(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int = MOST_HEARD) -> float | None:
    """Return the likeness alone, as of `Heard`, from at most so many notes; None where too few can be told."""
    rises = _rises(audio, notes, offset, most)
    return _mean(_votes(notes, rises)) if len(rises) >= FEWEST_HEARD else None


def _rises(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int) -> list[tuple[Note, np.ndarray]]:
    """Return notes with the spectrum (HEARD / 2 + 1,) that comes in from just before to just after their onsets."""
    found = []
    # at random: every n-th note of a figure is the same note
    chosen = np.random.default_rng(0).permutation(len(notes))[:most]
    for note in (notes[i] for i in chosen):
        at = round((note.start + offset) * SAMPLE_RATE)
        if HEARD <= at <= len(audio) - HEARD:
            before, after = (np.abs(scipy.fft.rfft(audio[i : i + HEARD] * _hann())) for i in (at - HEARD, at))
            found.append((note, np.maximum(0, after - before)))
    unload(audio)
    return found


def _votes(notes: Sequence[Note], rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> np.ndarray:
    """Return for each note, so much higher, whether it rises more than that at each of INTERVALS (notes, intervals).

    1 more, 1/2 as much, 0 less, NaN where the other sounds itself or is no pitch of MIDI.
    """
    starts, ends = np.array([note.start for note in notes]), np.array([note.end for note in notes])
    pitches, votes = np.array([note.pitch for note in notes]), np.full((len(rises), len(INTERVALS)), np.nan)
    for row, (note, rise) in zip(votes, rises, strict=True):
        strengths, own = saliences(rise), note.pitch + semitones
        sounding = pitches[(starts < note.start + HEARD / SAMPLE_RATE) & (ends > note.start - 0.2)] + semitones
        others = own + INTERVALS
        told = (others >= 0) & (others < PITCHES) & ~np.isin(others, sounding) & (0 <= own < PITCHES)
        if told.any():
            row[told] = (1 + np.sign(strengths[own] - strengths[others[told]])) / 2
    return votes


def _mean(votes: np.ndarray) -> float:
    """Return the mean over notes of each note's mean, 1/2 where nothing can be told."""
    told = votes[~np.all(np.isnan(votes), axis=1)]
    return float(np.mean(np.nanmean(told, axis=1))) if len(told) else 0.5


def _transposition(notes: Sequence[Note], rises: list[tuple[Note, np.ndarray]], votes: np.ndarray) -> int:
    """Return the interval at which the notes are heard instead, 0 if there is none."""
    told = np.sum(~np.isnan(votes), axis=0)
    shares = np.where(told >= FEWEST_HEARD, np.nansum(votes, axis=0) / np.maximum(told, 1), 1.0)
    alike = {int(k): _mean(_votes(notes, rises, int(k))) for k in INTERVALS[shares <= TRANSPOSED_SHARE]}
    fits = [k for k in alike if alike[k] >= max(TRANSPOSED_LIKENESS, _mean(votes))]
    return min(fits, key=lambda k: (_octaves(rises, k) != 0, -alike[k]), default=0)  # 7 and -5 differ by an octave


def _octaves(rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> int:
    """Return 12 where odd partials of the notes, so much higher, are missing, -12 if some lie between, else 0."""
    parts = (BELOW, WHOLE, ODD, EVEN)
    sums = [[sum(_peak(rise, note.pitch + semitones, m) for m in part) for part in parts] for note, rise in rises]
    below, whole, odd, even = np.maximum(np.array(sums), 1e-12).T
    if np.median(below / whole) > OCTAVE_BELOW:
        return -12
    return 12 if np.median(odd / even) < OCTAVE_ABOVE else 0


def _peak(spectrum: np.ndarray, pitch: int, multiple: float) -> float:
    """Return the highest bin of a magnitude spectrum around a multiple of a pitch's frequency."""
    middle = equal_temperament(pitch) * multiple * HEARD / SAMPLE_RATE
    return float(spectrum[round(middle / IN_TUNE) : round(middle * IN_TUNE) + 1].max(initial=0))


def saliences(spectrum: np.ndarray) -> np.ndarray:
    """Return how strongly the partials of every pitch of MIDI (PITCHES,) stand in a magnitude spectrum (bins,)."""
    peaks = np.maximum.reduceat(np.append(spectrum, 0), _ranges(len(spectrum)))[::2]
    return peaks.reshape(PITCHES, PARTIALS).sum(axis=1)


@lru_cache(maxsize=1)
def _ranges(bins: int) -> np.ndarray:
    """Return where each pitch's partials begin and end (2 x PITCHES x PARTIALS,); beyond the last bin is nothing."""
    middles = [equal_temperament(p) * m * HEARD / SAMPLE_RATE for p in range(PITCHES) for m in range(1, PARTIALS + 1)]
    edges = [(round(middle / IN_TUNE), round(middle * IN_TUNE) + 1) for middle in middles]
    return np.minimum(np.array(edges).ravel(), bins)


@lru_cache(maxsize=1)
def _hann() -> np.ndarray:
    """Return the window in which pitches are looked for."""
    return scipy.signal.get_window("hann", HEARD).astype(np.float32)
