"""Pitch check: whether a recording is of its MIDI file, because the notes' own pitches begin where the notes do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.midi import PITCHES, Note, midi_to_hz
from nnss_utils.paths import release_pages

FRAME = 8192  # samples before and after an onset whose spectra are compared
MOST_NOTES = 400  # of a recording that are compared
FEWEST_NOTES = 5  # below which nothing can be decided
INTERVALS = np.array([k for k in range(-11, 12) if k])  # semitones from a note to the pitches it is compared with
PARTIALS = 8
IN_TUNE = 2 ** (35 / 1200)  # a partial may be off by 35 cents
BELOW, WHOLE = (0.5, 1.5, 2.5, 3.5), (1, 2, 3, 4)  # multiples of a note's frequency: BELOW sounds an octave lower
ODD, EVEN = (1, 3, 5), (2, 4, 6)  # the odd ones are missing an octave higher
# limits measured on a fugue and a pedalled prelude by the Steinway and instruments of FluidR3; bells and a drawbar
# organ, whose partials are no plain multiples, fall outside
TRANSPOSED_SHARE = 0.25  # votes at the interval: transposed recordings reach 0.18; as written, 21 instruments from 0.75
TRANSPOSED_AGREEMENT = 0.9  # of the transposed notes, as of any recording of its notes
OCTAVE_BELOW = 0.6  # partials between: an octave lower from 0.63; as written, 12 instruments up to 0.46
OCTAVE_ABOVE = 0.1  # odd partials: an octave higher 0.00 on most; as written from 0.52


@dataclass(frozen=True)
class PitchCheck:
    """The result of comparing a recording's onsets with its notes' pitches.

    agreement: how often a note's own pitch rises more at its onset than other pitches within an octave, 0 to 1;
    about 1/2 for a recording of something else. semitones: by how much it sounds higher than written, 0: as written.
    """

    agreement: float
    semitones: int


def check_pitches(audio: np.ndarray, notes: Sequence[Note], offset: float) -> PitchCheck | None:
    """Return how audio (samples,), `offset` s behind its notes, fits their pitches; None: too few notes to decide."""
    rises = _rises(audio, notes, offset, MOST_NOTES)
    if len(rises) < FEWEST_NOTES:
        return None
    votes = _votes(notes, rises)
    return PitchCheck(_mean(votes), _transposition(notes, rises, votes) or _octaves(rises))


def pitch_agreement(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int = MOST_NOTES) -> float | None:
    """Return `PitchCheck.agreement` alone, of at most `most` notes; None where too few can be compared."""
    rises = _rises(audio, notes, offset, most)
    return _mean(_votes(notes, rises)) if len(rises) >= FEWEST_NOTES else None


def _rises(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int) -> list[tuple[Note, np.ndarray]]:
    """Return notes with the spectrum (FRAME / 2 + 1,) that is new just after their onset."""
    found = []
    # random notes: every n-th note of a figure is the same note
    chosen = np.random.default_rng(0).permutation(len(notes))[:most]
    for note in (notes[i] for i in chosen):
        at = round((note.start + offset) * SAMPLE_RATE)
        if FRAME <= at <= len(audio) - FRAME:
            before, after = (np.abs(scipy.fft.rfft(audio[i : i + FRAME] * _hann())) for i in (at - FRAME, at))
            found.append((note, np.maximum(0, after - before)))
    release_pages(audio)
    return found


def _votes(notes: Sequence[Note], rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> np.ndarray:
    """Return for each note, shifted by `semitones`, whether it rises more than each of INTERVALS (notes, intervals).

    1: more, 1/2: equally, 0: less; NaN where the other pitch sounds itself or is no MIDI pitch.
    """
    starts, ends = np.array([note.start for note in notes]), np.array([note.end for note in notes])
    pitches, votes = np.array([note.pitch for note in notes]), np.full((len(rises), len(INTERVALS)), np.nan)
    for row, (note, rise) in zip(votes, rises, strict=True):
        strengths, own = saliences(rise), note.pitch + semitones
        sounding = pitches[(starts < note.start + FRAME / SAMPLE_RATE) & (ends > note.start - 0.2)] + semitones
        others = own + INTERVALS
        valid = (others >= 0) & (others < PITCHES) & ~np.isin(others, sounding) & (0 <= own < PITCHES)
        if valid.any():
            row[valid] = (1 + np.sign(strengths[own] - strengths[others[valid]])) / 2
    return votes


def _mean(votes: np.ndarray) -> float:
    """Return the mean over notes of each note's mean vote, 1/2 where there are no votes."""
    valid = votes[~np.all(np.isnan(votes), axis=1)]
    return float(np.mean(np.nanmean(valid, axis=1))) if len(valid) else 0.5


def _transposition(notes: Sequence[Note], rises: list[tuple[Note, np.ndarray]], votes: np.ndarray) -> int:
    """Return the interval at which the notes sound instead, 0 if there is none."""
    valid = np.sum(~np.isnan(votes), axis=0)
    shares = np.where(valid >= FEWEST_NOTES, np.nansum(votes, axis=0) / np.maximum(valid, 1), 1.0)
    agreements = {int(k): _mean(_votes(notes, rises, int(k))) for k in INTERVALS[shares <= TRANSPOSED_SHARE]}
    fits = [k for k in agreements if agreements[k] >= max(TRANSPOSED_AGREEMENT, _mean(votes))]
    return min(fits, key=lambda k: (_octaves(rises, k) != 0, -agreements[k]), default=0)  # 7 and -5: an octave apart


def _octaves(rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> int:
    """Return 12 where odd partials of the notes (shifted by `semitones`) are missing, -12 if some lie between, or 0."""
    parts = (BELOW, WHOLE, ODD, EVEN)
    sums = [[sum(_peak(rise, note.pitch + semitones, m) for m in part) for part in parts] for note, rise in rises]
    below, whole, odd, even = np.maximum(np.array(sums), 1e-12).T
    if np.median(below / whole) > OCTAVE_BELOW:
        return -12
    return 12 if np.median(odd / even) < OCTAVE_ABOVE else 0


def _peak(spectrum: np.ndarray, pitch: int, multiple: float) -> float:
    """Return the highest bin of a magnitude spectrum around a multiple of a pitch's frequency."""
    middle = midi_to_hz(pitch) * multiple * FRAME / SAMPLE_RATE
    return float(spectrum[round(middle / IN_TUNE) : round(middle * IN_TUNE) + 1].max(initial=0))


def saliences(spectrum: np.ndarray) -> np.ndarray:
    """Return how strong the partials of every MIDI pitch (PITCHES,) are in a magnitude spectrum (bins,)."""
    peaks = np.maximum.reduceat(np.append(spectrum, 0), _partial_ranges(len(spectrum)))[::2]
    return peaks.reshape(PITCHES, PARTIALS).sum(axis=1)


@lru_cache(maxsize=1)
def _partial_ranges(bins: int) -> np.ndarray:
    """Return the bins where each pitch's partials begin and end (2 x PITCHES x PARTIALS,); beyond the last: none."""
    middles = [midi_to_hz(p) * m * FRAME / SAMPLE_RATE for p in range(PITCHES) for m in range(1, PARTIALS + 1)]
    edges = [(round(middle / IN_TUNE), round(middle * IN_TUNE) + 1) for middle in middles]
    return np.minimum(np.array(edges).ravel(), bins)


@lru_cache(maxsize=1)
def _hann() -> np.ndarray:
    return scipy.signal.get_window("hann", FRAME).astype(np.float32)
