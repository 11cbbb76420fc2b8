"""Onset alignment: how far the onsets of a recording lie behind its MIDI file's (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.pitch_check import LEAST_AGREEMENT, pitch_agreement
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


@dataclass(frozen=True)
class Alignment:
    """The delay of a WAV's onsets behind its MIDI file's, in ms, and the number of onsets that were read. offset: the
    median; earliest: the 10th percentile, which slow attacks don't move; jitter: the standard deviation around each
    pitch's mean; drift: ms a second by which the offset grows, 0 unless that explains half of the jitter."""

    offset_ms: float
    earliest_ms: float
    jitter_ms: float
    onsets: int
    drift: float = 0.0


def offset_samples(alignment: Alignment | None) -> int:
    """Return the samples by which a recording is late; 0 where this is the rise of the attack, or unknown."""
    known = alignment is not None and abs(alignment.earliest_ms) >= LEAST_CORRECTION_MS
    return round(alignment.earliest_ms / 1000 * SAMPLE_RATE) if known else 0


def measure_alignment(audio: np.ndarray, notes: Sequence[Note], coarse: float | None = None) -> Alignment | None:
    """Return the delay of the onsets in `audio` (samples,) behind those of `notes`, None where no onset can be read.
    The offset to some ms is `coarse`, by default from `coarse_offset`; then the rise of each onset is read to the
    sample, above HIGH_PASS or in the whole band, whichever shows more onsets."""
    coarse = coarse_offset(audio, notes) if coarse is None else coarse
    starts = np.array([note.start for note in notes])
    low, high = (np.searchsorted(np.sort(starts), starts + by) for by in (-0.06, 0.06))
    alone = [notes[i] for i in np.flatnonzero(high - low == 1)]
    alone = alone[:: -(-len(alone) // MOST_ONSETS) or 1]
    sections = scipy.signal.butter(2, HIGH_PASS, "highpass", fs=SAMPLE_RATE, output="sos")
    found = (_delays(audio, alone, coarse, band) for band in (sections, None))
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
    measured = (float(x) for x in (np.median(delay), np.percentile(delay, 10), jitter))
    return Alignment(*measured, len(delay), float(slope) if drifts else 0.0)


def _delays(audio: np.ndarray, notes: Sequence[Note], coarse: float, sections: np.ndarray | None) -> dict[int, list]:
    """Return by pitch (start in s, delay in ms) of the onsets that clearly rise, to a tenth of their next peak."""
    delays: dict[int, list] = {}
    before, window = round(0.02 * SAMPLE_RATE), round(0.09 * SAMPLE_RATE)
    for note in notes:
        first = round((note.start + coarse - 0.03) * SAMPLE_RATE)
        if first < 0 or first + window > len(audio):
            continue
        begin = max(0, first - before)
        part = audio[begin : first + window]
        part = np.abs(part if sections is None else scipy.signal.sosfilt(sections, part))[first - begin :]
        release_pages(audio)
        peak = part.max()
        threshold = max(0.1 * peak, 3 * part[:before].max())
        if peak >= 1e-5 and threshold <= 0.7 * peak:
            rise = (first + int(np.argmax(part >= threshold))) / SAMPLE_RATE
            delays.setdefault(note.pitch, []).append((note.start, 1000 * (rise - note.start)))
    return delays


def coarse_offset(audio: np.ndarray, notes: Sequence[Note]) -> float:
    """Return by how many seconds the onsets in audio (samples,) trail the notes', to some ms, at most FARTHEST."""
    part = audio[: round(COARSE_SECONDS * SAMPLE_RATE)]
    bright = np.diff(part)  # attacks are brighter than notes that still sound
    level = np.log10(np.mean(bright[: len(bright) // HOP * HOP].reshape(-1, HOP) ** 2, axis=1) + 1e-8)
    smooth = np.convolve(level, np.ones(8) / 8)[: len(level)]
    flux = np.maximum(0, smooth[8:] - smooth[:-8])
    comb = np.zeros(len(flux))
    onsets = np.rint(np.array([note.start for note in notes]) * SAMPLE_RATE / HOP).astype(int) - 8
    comb[onsets[(onsets >= 0) & (onsets < len(comb))]] = 1
    scores = scipy.signal.correlate(flux, comb, mode="full", method="fft")
    reach, middle = round(FARTHEST * SAMPLE_RATE / HOP), len(comb) - 1
    low = max(0, middle - reach)
    near = scores[low : middle + reach + 1]
    peaks = low + scipy.signal.find_peaks(near, height=LIKELY * near.max(), distance=8)[0]
    lags = (peaks - middle - 8) * HOP / SAMPLE_RATE
    if not len(lags):
        return 0.0
    # in music of equal note values the onsets fit at every note, the pitches only at the right one
    early = [note for note in notes if note.start < COARSE_SECONDS]
    agreements = np.array([pitch_agreement(part, early, lag, NOTES_PER_LAG) or 0.0 for lag in lags])
    fitting = (agreements >= agreements.max() - 0.03) | (agreements.max() < LEAST_AGREEMENT)  # else: onsets alone
    fitting &= scores[peaks] >= 0.9 * scores[peaks][fitting].max()
    return float(min(lags[fitting], key=abs))  # music repeats itself: take the nearest
