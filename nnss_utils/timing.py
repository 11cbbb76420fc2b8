"""Whether a recording is of its MIDI file, and how far its onsets lie behind it (notebook 01_codification)."""

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

HOP = 64  # samples between two values of the onset envelope
HIGH_PASS = 4000.0  # Hz, above which an attack stands out from the notes that still sound
FARTHEST = 5.0  # s between a WAV and its MIDI that the coarse search covers
MOST_ONSETS = 2000  # that are read: hours of music need no more
LEAST_CORRECTION_MS = 1.0  # below this an offset is the instrument's own attack
HEARD = 8192  # samples in which a note's pitch is looked for
MOST_HEARD = 400  # notes that are looked for
FEWEST_HEARD = 5  # notes that tell anything
NEIGHBOURS = 6  # semitones around a note with which it is compared
PARTIALS = 8
IN_TUNE = 35.0  # cents


@dataclass(frozen=True)
class Timing:
    """How far a WAV's onsets lie behind its MIDI's in ms, and how many onsets told so.

    offset: the median; earliest: the tenth part that rises first, so free of slow attacks; jitter: the spread.
    """

    offset_ms: float
    earliest_ms: float
    jitter_ms: float
    onsets: int


def lateness(timing: Timing | None) -> int:
    """Return by how many samples a recording is late, 0 where it is only the attack's own rise, or unknown."""
    if timing is None:
        return 0
    late = round(timing.earliest_ms / 1000 * SAMPLE_RATE)
    return late if abs(timing.earliest_ms) >= LEAST_CORRECTION_MS else 0


def measure_timing(audio: np.ndarray, notes: Sequence[Note]) -> Timing | None:
    """Return how far the onsets in `audio` lie behind those of `notes`, None where no onset can be read.

    A correlation of onset envelopes finds the offset to some ms, then each onset's rise is read to the sample,
    in the highs or in the whole band, whichever shows more of them. Keys rise differently, so the jitter is that
    of each pitch around its own mean.
    """
    coarse = coarse_offset(audio, notes)
    starts = np.sort([note.start for note in notes])
    near = [np.searchsorted(starts, [note.start - 0.06, note.start + 0.06]) for note in notes]
    alone = [note for note, (low, high) in zip(notes, near, strict=True) if high - low == 1]
    alone = alone[:: -(-len(alone) // MOST_ONSETS) or 1]
    found = [_delays(audio, alone, coarse, high_pass) for high_pass in (HIGH_PASS, 0.0)]
    delays = max(found, key=lambda by_pitch: sum(map(len, by_pitch.values())))
    read = [delay for of_pitch in delays.values() for delay in of_pitch]
    if not read:
        return None
    repeated = [of_pitch for of_pitch in delays.values() if len(of_pitch) > 1] or [read]
    squares = sum(np.sum((np.array(of_pitch) - np.mean(of_pitch)) ** 2) for of_pitch in repeated)
    freedom = max(1, sum(len(of_pitch) - 1 for of_pitch in repeated))
    earliest = float(np.percentile(read, 10))
    return Timing(float(np.median(read)), earliest, float(np.sqrt(squares / freedom)), len(read))


def _delays(audio: np.ndarray, notes: Sequence[Note], coarse: float, high_pass: float) -> dict[int, list[float]]:
    """Return by pitch how late (ms) each onset rises that can be read in the band above `high_pass` Hz."""
    delays: dict[int, list[float]] = {}
    for note in notes:
        rise = _rise(audio, note.start + coarse, high_pass)
        unload(audio)
        if rise is not None:
            delays.setdefault(note.pitch, []).append(1000 * (rise - note.start))
    return delays


def coarse_offset(audio: np.ndarray, notes: Sequence[Note], longest: float = 600.0) -> float:
    """Return by how many seconds the audio's onsets trail the notes', from the first ten minutes, to some ms."""
    part = audio[: round(longest * SAMPLE_RATE)]
    part = np.diff(part)  # attacks are brighter than what still sounds
    level = np.log10(np.mean(part[: len(part) // HOP * HOP].reshape(-1, HOP) ** 2, axis=1) + 1e-8)
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
    peaks = low + scipy.signal.argrelmax(scores[low:high], order=8, mode="clip")[0]
    lags = peaks[scores[peaks] >= 0.9 * scores[low:high].max()] - middle - 8
    return float(min(lags, key=abs, default=0)) * HOP / SAMPLE_RATE  # music repeats itself: the nearest one counts


def _rise(audio: np.ndarray, expected: float, high_pass: float) -> float | None:
    """Return when (s) the sound first rises near `expected`: to a tenth of the peak that follows; None if unclear."""
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
    """Return the second-order sections of a Butterworth high pass."""
    return scipy.signal.butter(2, hz, "highpass", fs=SAMPLE_RATE, output="sos")


def pitch_likeness(audio: np.ndarray, notes: Sequence[Note], offset: float) -> float | None:
    """Return how often a note's own pitch rises more at its onset than its neighbours' do, from 0 to 1.

    About 1/2 for a recording of something else; None where too few notes can be told. `offset`: by how many seconds
    the audio (samples,) trails the notes. Compared are the partials' rise from just before to just after the onset,
    of the note and of every pitch up to NEIGHBOURS semitones away that does not sound then.
    """
    chosen = sorted(notes)[:: -(-len(notes) // MOST_HEARD) or 1]
    starts, ends = np.array([note.start for note in notes]), np.array([note.end for note in notes])
    pitches, shares = np.array([note.pitch for note in notes]), []
    for note in chosen:
        at = round((note.start + offset) * SAMPLE_RATE)
        if at < HEARD or at + HEARD > len(audio):
            continue
        sounding = set(pitches[(starts < note.start + HEARD / SAMPLE_RATE) & (ends > note.start - 0.2)].tolist())
        others = [p for p in range(note.pitch - NEIGHBOURS, note.pitch + NEIGHBOURS + 1) if p not in sounding]
        if not others:
            continue
        before, after = (np.abs(scipy.fft.rfft(audio[i : i + HEARD] * _hann())) for i in (at - HEARD, at))
        rise = np.maximum(0, after - before)
        own = _salience(rise, note.pitch)
        others = np.array([_salience(rise, pitch) for pitch in others])
        shares.append(np.mean(own > others) + np.mean(own == others) / 2)
    unload(audio)
    return float(np.mean(shares)) if len(shares) >= FEWEST_HEARD else None


def _salience(spectrum: np.ndarray, pitch: int) -> float:
    """Return how strongly the partials of a pitch stand in a magnitude spectrum (HEARD / 2 + 1,)."""
    partials = equal_temperament(pitch) * np.arange(1, PARTIALS + 1) * HEARD / SAMPLE_RATE
    width = 2 ** (IN_TUNE / 1200)
    low, high = np.round(partials / width).astype(int), np.round(partials * width).astype(int) + 1
    return float(sum(spectrum[a:b].max(initial=0) for a, b in zip(low, high, strict=True)))


@lru_cache(maxsize=1)
def _hann() -> np.ndarray:
    """Return the window in which pitches are looked for."""
    return scipy.signal.get_window("hann", HEARD).astype(np.float32)
