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
LEAST_AGREEMENT = 0.85  # recordings of their notes reach 0.9 and more, other pieces 0.5 to 0.75
INTERVALS = np.array([k for k in range(-11, 12) if k])  # semitones from a note to the pitches it is compared with
IN_TUNE = 2 ** (35 / 1200)  # a partial may be off by 35 cents
MULTIPLES = (0.5, 1.5, 2.5, 3.5, *(1, 2, 3, 4), *(1, 3, 5), *(2, 4, 6))  # of a note's frequency: see `_octaves`
# measured on a fugue and a pedalled prelude by the Steinway and instruments of FluidR3; not for bells, drawbar organs
TRANSPOSED_SHARE = 0.25  # votes at the interval: transposed recordings reach 0.18; as written, 21 instruments from 0.75
TRANSPOSED_AGREEMENT = 0.9  # of the transposed notes, as of any recording of its notes
OCTAVE_BELOW = 0.6  # partials between: an octave lower from 0.63; as written, 12 instruments up to 0.46
OCTAVE_ABOVE = 0.1  # odd partials: an octave higher 0.00 on most; as written from 0.52


@dataclass(frozen=True)
class PitchCheck:
    """How often notes' own pitches rise more at their onsets than others (chance: 1/2); semitones above the notes."""

    agreement: float
    semitones: int


def check_pitches(audio: np.ndarray, notes: Sequence[Note], offset: float) -> PitchCheck | None:
    """Return how audio (samples,), `offset` s behind its notes, fits their pitches; None: too few notes to decide."""
    rises = _rises(audio, notes, offset, MOST_NOTES)
    if len(rises) < FEWEST_NOTES:
        return None
    votes = _votes(notes, rises)
    valid = np.sum(~np.isnan(votes), axis=0)
    shares = np.where(valid >= FEWEST_NOTES, np.nansum(votes, axis=0) / np.maximum(valid, 1), 1.0)
    agreements = {int(k): _mean(_votes(notes, rises, int(k))) for k in INTERVALS[shares <= TRANSPOSED_SHARE]}
    fits = [k for k in agreements if agreements[k] >= max(TRANSPOSED_AGREEMENT, _mean(votes))]
    transposed = min(fits, key=lambda k: (_octaves(rises, k) != 0, -agreements[k]), default=0)  # 7 and -5: an octave
    return PitchCheck(_mean(votes), transposed or _octaves(rises))


def pitch_agreement(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int = MOST_NOTES) -> float | None:
    """Return `PitchCheck.agreement` of at most `most` notes; None where too few can be compared."""
    rises = _rises(audio, notes, offset, most)
    return _mean(_votes(notes, rises)) if len(rises) >= FEWEST_NOTES else None


def _rises(audio: np.ndarray, notes: Sequence[Note], offset: float, most: int) -> list[tuple[Note, np.ndarray]]:
    """Return notes with the spectrum (FRAME / 2 + 1,) that is new just after their onset."""
    found, window = [], scipy.signal.get_window("hann", FRAME).astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(notes))[:most]  # every n-th note of a figure is the same note
    for note in (notes[i] for i in chosen):
        at = round((note.start + offset) * SAMPLE_RATE)
        if FRAME <= at <= len(audio) - FRAME:
            before, after = (np.abs(scipy.fft.rfft(audio[i : i + FRAME] * window)) for i in (at - FRAME, at))
            found.append((note, np.maximum(0, after - before)))
    release_pages(audio)
    return found


def _votes(notes: Sequence[Note], rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> np.ndarray:
    """Return (notes, intervals): 1 if a shifted note rises more than that pitch, 0 if less, NaN if both sound."""
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


def _octaves(rises: list[tuple[Note, np.ndarray]], semitones: int = 0) -> int:
    """Return 12 if odd partials of the notes (shifted by `semitones`) are missing, -12 if some lie between, or 0."""
    peaks = np.array([_peaks(rise, (note.pitch + semitones,), MULTIPLES)[0] for note, rise in rises], np.float64)
    below, whole, odd, even = np.maximum(np.add.reduceat(peaks, (0, 4, 8, 11), axis=1), 1e-12).T
    if np.median(below / whole) > OCTAVE_BELOW:
        return -12
    return 12 if np.median(odd / even) < OCTAVE_ABOVE else 0


def saliences(spectrum: np.ndarray) -> np.ndarray:
    """Return how strong the first 8 partials of every MIDI pitch (PITCHES,) are in a magnitude spectrum (bins,)."""
    return _peaks(spectrum, range(PITCHES), range(1, 9)).sum(axis=1)


def _peaks(spectrum: np.ndarray, pitches: Sequence[int], multiples: Sequence[float]) -> np.ndarray:
    """Return the highest bin (pitches, multiples) around each multiple of each pitch's frequency, 0 outside."""
    edges = np.minimum(_edges(pitches, multiples), len(spectrum))
    return np.maximum.reduceat(np.append(spectrum, 0), edges)[::2].reshape(len(pitches), len(multiples))


@lru_cache(maxsize=256)
def _edges(pitches: Sequence[int], multiples: Sequence[float]) -> np.ndarray:
    """Return where the bins around each multiple of each pitch's frequency begin and end, in a row."""
    middles = [midi_to_hz(pitch) * multiple * FRAME / SAMPLE_RATE for pitch in pitches for multiple in multiples]
    return np.array([(round(middle / IN_TUNE), round(middle * IN_TUNE) + 1) for middle in middles]).ravel()
