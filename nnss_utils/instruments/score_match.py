"""Score match: whether, where and how fast a recording plays its MIDI file, by the pitches that begin to sound."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.midi import Note, midi_to_hz
from nnss_utils.paths import release_pages

FRAME, HOP = 8192, 1024  # samples of a spectrum, and from one to the next
LAG = FRAME // HOP  # hops between the two spectra that are compared: one ends where the other begins
LOWEST, HIGHEST = 9, 120  # pitches of the map: a piano's, and an octave more
PARTIALS = np.arange(1, 7)
IN_TUNE = 2 ** (35 / 1200)  # a partial may be off by 35 cents
SOFT = 0.3  # rises weaker than this share of strong ones count less
MOST_SECONDS = 600.0  # of the recording that are read
FARTHEST = 30.0  # s between a WAV and its MIDI file
PACES = 0.015  # pace may be off by so much
NEAR = 6  # hops around a peak that belong to it
INTERVALS = range(-11, 12)  # semitones that are tried
AS_WRITTEN, LATER = 1.3, 2.0  # by which the notes as written are preferred, and to those that fit much later
STRETCH = 8.0  # s of notes, at most, that are matched as one: at a pace 1 % off they shift by 80 ms
CLEAR, FEWEST_CLEAR = 8.0, 3  # standard deviations by which a stretch is clear by itself; of fewer, no share is told
LEAST_SPREAD = 0.7  # of scores
ALIKE = 0.8  # of its best score, which a stretch has where it fits too
LEAST_CLEARNESS = 7.5  # data/results/offsets.json: recordings of their notes from 9.8, of others up to 5.3
OF_IDEAL = 0.75  # of what notes themselves reach, which is little where they repeat
LEAST_IDEAL = 6.5  # of notes; those that repeat more fit too much else to tell
LEAST_SHARE = 0.64  # clear stretches that fit elsewhere are those of another performance


@dataclass(frozen=True)
class Match:
    """How a recording fits its notes. lag: s by which it trails them at time 0, to some 50 ms; pace: s of the recording
    for each s of the notes; clearness: standard deviations by which this lag stands out from the others, rival: the
    next best one's; share: of the stretches that are clear by themselves, how many fit at this lag; semitones by
    which it sounds higher; ideal: the clearness that the notes themselves have."""

    lag: float
    pace: float
    clearness: float
    rival: float
    share: float
    semitones: int = 0
    ideal: float = np.inf

    @property
    def telling(self) -> bool:
        """Whether these notes differ enough for their pitches and times to tell a recording of them."""
        return self.ideal >= LEAST_IDEAL

    @property
    def fits(self) -> bool:
        """Whether the recording is of these notes, or clearly of them transposed."""
        least = AS_WRITTEN * LEAST_CLEARNESS if self.semitones else min(LEAST_CLEARNESS, OF_IDEAL * self.ideal)
        return self.clearness >= least and self.share >= LEAST_SHARE


def match_score(audio: np.ndarray, notes: Sequence[Note]) -> Match:
    """Return how a recording, float32 (samples,), fits `notes`, of the transposition that fits best."""
    rises = onset_map(audio[: round(MOST_SECONDS * SAMPLE_RATE)])
    release_pages(audio)
    ideal = _match(_ideal_map(notes), notes, 0).clearness
    matches = [replace(_match(rises, notes, by), ideal=ideal) for by in INTERVALS]
    written = matches[INTERVALS.index(0)]
    if written.fits and OF_IDEAL * ideal < LEAST_CLEARNESS:  # notes that repeat fit at other pitches too
        return written
    far = abs(written.lag) + 1.0 if written.fits else np.inf  # s: a scale fits later, too, by another interval
    least = [(LATER if abs(m.lag) > far else AS_WRITTEN) if m.semitones else 1.0 for m in matches]
    return max(zip(matches, least, strict=True), key=lambda pair: pair[0].clearness / pair[1])[0]


def _ideal_map(notes: Sequence[Note]) -> np.ndarray:
    """Return the map (hops, pitches) of a recording in which nothing but the notes' own pitches rise."""
    count = min(MOST_SECONDS, max((note.end for note in notes), default=0)) * SAMPLE_RATE // HOP
    rises = np.zeros((int(count) + LAG, HIGHEST + 1 - LOWEST), np.float32)
    for note in notes:
        row = round(note.start * SAMPLE_RATE / HOP)
        if row < len(rises) and LOWEST <= note.pitch <= HIGHEST:
            rises[row, note.pitch - LOWEST] = 1
    rises = scipy.ndimage.uniform_filter1d(rises, LAG, axis=0)[LAG:]
    return rises - rises.mean(axis=0, keepdims=True) if count else rises


def onset_map(audio: np.ndarray) -> np.ndarray:
    """Return how much more each pitch sounds after than before a moment, float32 (hops, pitches LOWEST..HIGHEST), from
    audio (samples,). Row i belongs to sample (i + LAG) HOP; rows and columns are centred, strong rows equally so."""
    count = max(0, (len(audio) - FRAME) // HOP + 1)
    edges = bins_around(np.outer([midi_to_hz(pitch) for pitch in range(LOWEST, HIGHEST + 1)], PARTIALS).ravel())
    window = scipy.signal.get_window("hann", FRAME).astype(np.float32)
    salience = np.zeros((count, HIGHEST + 1 - LOWEST), np.float32)
    for first in range(0, count, 256):
        part = audio[first * HOP : (min(first + 256, count) - 1) * HOP + FRAME]
        frames = np.lib.stride_tricks.sliding_window_view(part, FRAME)[::HOP]
        spectra = np.pad(np.abs(scipy.fft.rfft(frames * window)), ((0, 0), (0, 1)))
        peaks = np.maximum.reduceat(spectra, edges, axis=1)[:, ::2]
        salience[first : first + len(frames)] = peaks.reshape(len(frames), -1, len(PARTIALS)).sum(axis=2)
    if count <= LAG:
        return np.zeros((0, salience.shape[1]), np.float32)
    level = np.sqrt(salience)
    rises = np.maximum(0, level[LAG:] - level[:-LAG])
    rises -= rises.mean(axis=1, keepdims=True)
    rises -= rises.mean(axis=0)
    strength = np.sqrt(np.mean(rises**2, axis=1, keepdims=True))
    return rises / (strength + SOFT * np.percentile(strength, 90) + 1e-9)


def bins_around(frequencies: np.ndarray) -> np.ndarray:
    """Return where the bins around each frequency in Hz (n,) begin and end, int (2 n,), in spectra of FRAME with one
    bin more: what lies above them gets that one."""
    middles = frequencies * FRAME / SAMPLE_RATE
    edges = np.stack([np.rint(middles / IN_TUNE), np.rint(middles * IN_TUNE) + 1], axis=1).astype(int)
    return np.minimum(edges, FRAME // 2 + 1).ravel()


def _match(rises: np.ndarray, notes: Sequence[Note], semitones: int) -> Match:
    starts = np.array([note.start for note in notes])
    columns = np.array([note.pitch for note in notes]) + semitones - LOWEST
    rows = np.rint(starts * SAMPLE_RATE / HOP).astype(int) - LAG
    stretches = (starts // min(STRETCH, starts.max() / 4 + 1e-9)).astype(int)
    valid = (columns >= 0) & (columns < rises.shape[1]) & (rows >= 0) & (rows < len(rises))
    of_stretch = [np.flatnonzero(valid & (stretches == stretch)) for stretch in np.unique(stretches[valid])]
    if not of_stretch:
        return Match(0.0, 1.0, 0.0, 0.0, 0.0, semitones)
    times = np.array([rows[stretch].mean() for stretch in of_stretch])
    times, length = times / max(1.0, times.max()), max(1.0, times.max())
    most = int(PACES * length / 2)
    steps = 2 * np.array(sorted(range(-most, most + 1), key=abs))  # hops by which the last stretch is shifted
    reach, margin = round(FARTHEST * SAMPLE_RATE / HOP), 2 * most
    padded = np.pad(rises, ((reach + margin, reach + margin + 1), (0, 0)))
    power = np.mean(rises**2, axis=1)
    strong = float(np.percentile(power[power > 0], 90)) if power.any() else 1.0
    padded_power = np.pad(power, (reach + margin, reach + margin + 1))

    def summed(stretch: np.ndarray) -> np.ndarray:
        """Return scores, and the mean squares of the rows they are from (2, lags), summed over a stretch's notes."""
        lags = [slice(rows[i], rows[i] + 2 * (reach + margin) + 1) for i in stretch]
        score = sum(padded[at, columns[i]] for at, i in zip(lags, stretch, strict=True))
        return np.array([score, sum(padded_power[at] for at in lags)])

    scores = [summed(stretch) for stretch in of_stretch]
    least = strong * sum(map(len, of_stretch)) / 2
    totals = [_standard(_total(scores, np.rint(times * step).astype(int), margin), least) for step in steps]
    peaks = np.array([total.max() for total in totals])
    best = int(np.argmax(peaks >= 0.97 * peaks.max()))  # of nearly equal ones the pace nearest to 1
    at, clearness, rival = _peak(totals[best])
    clear = []
    for score, by in zip(scores, np.rint(times * steps[best]).astype(int) + margin + at, strict=True):
        own = _standard(score, least / len(scores))
        if _peak(own)[1] >= CLEAR:
            clear.append(own[by - NEAR : by + NEAR + 1].max() >= ALIKE * own.max())
    share = float(np.mean(clear)) if len(clear) >= FEWEST_CLEAR else 1.0
    return Match((at - reach) * HOP / SAMPLE_RATE, 1 + steps[best] / length, clearness, rival, share, semitones)


def _standard(total: np.ndarray, least: float) -> np.ndarray:
    """Return scores (lags,) whose standard deviation is about 1, of scores and mean squares (2, lags); `least` of those
    are needed, so that a few notes amid silence don't count."""
    scores, power = total
    return scores / np.sqrt(np.maximum(power, least))


def _total(scores: Sequence[np.ndarray], shifts: np.ndarray, margin: int) -> np.ndarray:
    """Return the sum over stretches of (2, lags), each `shifts` (stretches,) hops earlier, without the margins."""
    lags = scores[0].shape[1] - 2 * margin
    return sum(score[:, margin + by : margin + by + lags] for score, by in zip(scores, shifts, strict=True))


def _peak(scores: np.ndarray) -> tuple[int, float, float]:
    """Return where scores (lags,) are highest, and by how many standard deviations this and the next peak stand out."""
    at = int(np.argmax(scores))
    others = np.delete(scores, np.arange(max(0, at - NEAR), min(len(scores), at + NEAR + 1)))
    spread = max(LEAST_SPREAD, float(np.std(others)))
    return at, *((float(score) - float(others.mean())) / spread for score in (scores[at], others.max()))
