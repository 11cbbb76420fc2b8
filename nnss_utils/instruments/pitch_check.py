"""Pitch check: whether a recording sounds an octave above or below its MIDI file's notes."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.score_match import FRAME, Match, bins_around
from nnss_utils.midi import Note, midi_to_hz
from nnss_utils.paths import release_pages

MOST_NOTES = 400  # of a recording that are compared
FEWEST_NOTES = 5  # below which nothing can be decided
MULTIPLES = (0.5, 1.5, 2.5, 3.5, *(1, 2, 3, 4), *(1, 3, 5), *(2, 4, 6))  # of a note's frequency, in four groups
# measured on a fugue and a pedalled prelude by the Steinway and instruments of FluidR3; not for bells, drawbar organs
OCTAVE_BELOW = 0.6  # partials between: an octave lower from 0.63; as written, 12 instruments up to 0.46
OCTAVE_ABOVE = 0.1  # odd partials: an octave higher 0.00 on most; as written from 0.52

SEGMENT = 2**15  # samples of a spectrum that tells tens of cents
ON, BESIDE = np.arange(-20, 21, 5), np.concatenate([np.arange(-60, -39, 5), np.arange(40, 61, 5)])  # cents


def in_tune_db(audio: np.ndarray, notes: Sequence[Note], ratio: float) -> float:
    """Return by how many dB the notes' partials up to 5 kHz stand out from what lies half a semitone beside them, in
    audio (samples,) whose samples have `ratio` times the rate that its file says."""
    f, power = scipy.signal.welch(audio, SAMPLE_RATE, nperseg=min(SEGMENT, len(audio)))
    f0 = [midi_to_hz(pitch) for pitch in sorted({note.pitch for note in notes})]
    partials = np.outer(f0, np.arange(1, 7)) / ratio
    partials, level = partials[partials < 5000], 10 * np.log10(power + 1e-20)
    on, beside = (np.interp(np.outer(partials, 2 ** (cents / 1200)), f, level).max(axis=1) for cents in (ON, BESIDE))
    return float(np.mean(on - beside)) if len(partials) else 0.0


def octaves_off(audio: np.ndarray, notes: Sequence[Note], match: Match) -> int:
    """Return 12 if audio (samples,), which fits its notes as `match` says, misses their odd partials, -12 if it has
    some between them, or 0; 0 for too few notes to tell."""
    peaks, window = [], scipy.signal.get_window("hann", FRAME).astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(notes))[:MOST_NOTES]  # every n-th note of a figure is the same
    for note in (notes[i] for i in chosen):
        at = round((note.start * match.pace + match.lag) * SAMPLE_RATE)
        if FRAME <= at <= len(audio) - FRAME:
            before, after = (np.abs(scipy.fft.rfft(audio[i : i + FRAME] * window)) for i in (at - FRAME, at))
            peaks.append(_peaks(np.maximum(0, after - before), note.pitch))
    release_pages(audio)
    if len(peaks) < FEWEST_NOTES:
        return 0
    below, whole, odd, even = np.maximum(np.add.reduceat(np.array(peaks), (0, 4, 8, 11), axis=1), 1e-12).T
    if np.median(below / whole) > OCTAVE_BELOW:
        return -12
    return 12 if np.median(odd / even) < OCTAVE_ABOVE else 0


def _peaks(spectrum: np.ndarray, pitch: int) -> np.ndarray:
    """Return the highest bin around each of MULTIPLES of a pitch's frequency, float64 (14,), 0 outside the spectrum."""
    return np.maximum.reduceat(np.append(spectrum, 0.0), bins_around(midi_to_hz(pitch) * np.array(MULTIPLES)))[::2]
