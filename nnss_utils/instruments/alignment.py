"""Onset alignment: how far the onsets of a recording lie behind its MIDI file's (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.pitch_check import pitch_agreement
from nnss_utils.midi import Note
from nnss_utils.paths import release_pages

HOP = 64  # samples between two values of the onset envelope
HIGH_PASS = 4000.0  # Hz, above which an attack stands out from notes that still sound
FARTHEST = 5.0  # s between a WAV and its MIDI file that the coarse search covers
COARSE_SECONDS = 600.0  # of the recording that the coarse search reads
MOST_ONSETS = 2000  # that are read: enough for hours of music
LEAST_CORRECTION_MS = 1.0  # a smaller offset is the instrument's own attack
LIKELY = 0.5  # share of the best score above which a lag is examined more closely
FEWEST_DRIFTING = 4  # repeated pitches that show a drift
LEAST_DRIFT_MS = 0.3  # over the recording
NOTES_PER_LAG = 40  # whose pitches are compared
LEAST_AGREEMENT = 0.85  # if no lag reaches it, the onsets alone decide


@dataclass(frozen=True)
class Alignment:
    """How far a WAV's onsets lie behind its MIDI file's, in ms, and the number of onsets that were read.

    offset: the median; earliest: the 10th percentile, which slow attacks don't move; jitter: the standard deviation
    of each pitch around its own mean; drift: ms by which the offset grows each second, 0 unless it explains at least
    half of the jitter.
    """

    offset_ms: float
    earliest_ms: float
    jitter_ms: float
    onsets: int
    drift: float = 0.0


def offset_samples(alignment: Alignment | None) -> int:
    """Return by how many samples a recording is late; 0 where that is the attack's own rise, or unknown."""
    if alignment is None or abs(alignment.earliest_ms) < LEAST_CORRECTION_MS:
        return 0
    return round(alignment.earliest_ms / 1000 * SAMPLE_RATE)


def measure_alignment(audio: np.ndarray, notes: Sequence[Note], coarse: float | None = None) -> Alignment | None:
    """Return how far the onsets in `audio` (samples,) lie behind those of `notes`, None where no onset can be read.

    Correlated onset envelopes give the offset to some ms (`coarse`, if not given); then the rise of each onset is
    read to the sample, above HIGH_PASS or in the whole band, whichever shows more onsets.
    """
    coarse = coarse_offset(audio, notes) if coarse is None else coarse
    starts = np.sort([note.start for note in notes])
    near = [np.searchsorted(starts, [note.start - 0.06, note.start + 0.06]) for note in notes]
    alone = [note for note, (low, high) in zip(notes, near, strict=True) if high - low == 1]
    alone = alone[:: -(-len(alone) // MOST_ONSETS) or 1]
    found = [_delays(audio, alone, coarse, high_pass) for high_pass in (HIGH_PASS, 0.0)]
    delays = max(found, key=lambda by_pitch: sum(map(len, by_pitch.values())))
    if not delays:
        return None
    read = [np.array(of_pitch) for of_pitch in delays.values()]  # start in s, delay in ms
    groups = [of_pitch for of_pitch in read if len(of_pitch) > 1]
    start, late = np.concatenate([group - group.mean(axis=0) for group in groups or [np.concatenate(read)]]).T
    jitter = np.sqrt(np.sum(late**2) / max(1, len(late) - max(1, len(groups))))
    slope = start @ late / max(1e-9, start @ start)
    steady = np.sum((late - slope * start) ** 2) <= 0.25 * np.sum(late**2)
    drifts = len(groups) >= FEWEST_DRIFTING and steady and abs(slope) * np.ptp(start) >= LEAST_DRIFT_MS
    delay = np.concatenate(read)[:, 1]
    earliest, drift = np.percentile(delay, 10), float(slope) if drifts else 0.0
    return Alignment(float(np.median(delay)), float(earliest), float(jitter), len(delay), drift)


def _delays(
    audio: np.ndarray, notes: Sequence[Note], coarse: float, high_pass: float
) -> dict[int, list[tuple[float, float]]]:
    """Return by pitch the start (s) and delay (ms) of each onset that can be read in the band above `high_pass` Hz."""
    delays: dict[int, list[tuple[float, float]]] = {}
    for note in notes:
        rise = _rise(audio, note.start + coarse, high_pass)
        release_pages(audio)
        if rise is not None:
            delays.setdefault(note.pitch, []).append((note.start, 1000 * (rise - note.start)))
    return delays


def coarse_offset(audio: np.ndarray, notes: Sequence[Note]) -> float:
    """Return by how many seconds the onsets in audio (samples,) trail the notes', to some ms, at most FARTHEST."""
    part = audio[: round(COARSE_SECONDS * SAMPLE_RATE)]
    bright = np.diff(part)  # attacks are brighter than notes that still sound
    level = np.log10(np.mean(bright[: len(bright) // HOP * HOP].reshape(-1, HOP) ** 2, axis=1) + 1e-8)
    smooth = np.convolve(level, np.ones(8) / 8, mode="full")[: len(level)]
    flux = np.maximum(0, smooth[8:] - smooth[:-8])
    comb = np.zeros(len(flux))
    for note in notes:
        index = round(note.start * SAMPLE_RATE / HOP) - 8
        if 0 <= index < len(comb):
            comb[index] = 1
    reach = round(FARTHEST * SAMPLE_RATE / HOP)
    scores = scipy.signal.correlate(flux, comb, mode="full", method="fft")
    middle = len(comb) - 1
    low, high = max(0, middle - reach), min(len(scores), middle + reach + 1)
    best = scores[low:high].max()
    peaks = low + scipy.signal.find_peaks(scores[low:high], height=LIKELY * best, distance=8)[0]
    lags = (peaks - middle - 8) * HOP / SAMPLE_RATE
    if not len(lags):
        return 0.0
    # in music of equal note values the onsets fit at every note, but the pitches do not
    early = [note for note in notes if note.start < COARSE_SECONDS]
    agreements = np.array([pitch_agreement(part, early, lag, NOTES_PER_LAG) or 0.0 for lag in lags])
    fitting = (agreements >= agreements.max() - 0.03) | (agreements.max() < LEAST_AGREEMENT)
    fitting &= scores[peaks] >= 0.9 * scores[peaks][fitting].max()
    return float(min(lags[fitting], key=abs))  # music repeats itself: take the nearest


def _rise(audio: np.ndarray, expected: float, high_pass: float) -> float | None:
    """Return when (s) the sound first rises near `expected` to a tenth of the peak that follows; None if unclear."""
    first = round((expected - 0.03) * SAMPLE_RATE)
    before, window = round(0.02 * SAMPLE_RATE), round(0.09 * SAMPLE_RATE)
    if first < 0 or first + window > len(audio):
        return None
    part = audio[first : first + window]
    if high_pass:
        begin = max(0, first - before)
        part = scipy.signal.sosfilt(_high_pass(high_pass), audio[begin : first + window])[first - begin :]
    part = np.abs(part)
    peak, past = part.max(), part[:before].max()
    threshold = max(0.1 * peak, 3 * past)
    if peak < 1e-5 or threshold > 0.7 * peak:
        return None
    return (first + int(np.argmax(part >= threshold))) / SAMPLE_RATE


@lru_cache(maxsize=2)
def _high_pass(hz: float) -> np.ndarray:
    return scipy.signal.butter(2, hz, "highpass", fs=SAMPLE_RATE, output="sos")
