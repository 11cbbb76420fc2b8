"""Onset alignment: how far the onsets of a recording lie behind its MIDI file's (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
import scipy.signal
import scipy.stats

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.score_match import MOST_SECONDS, Match, match_score
from nnss_utils.midi import Note
from nnss_utils.paths import release_pages

HIGH_PASSES = (8000.0, 4000.0, 2000.0)  # Hz, above which attacks stand out from notes that still sound
ENOUGH_ONSETS = 12  # clear ones, for which the highest band is taken
FEWEST_ONSETS = 5
MOST_ONSETS = 2000  # that are read: enough for hours of music
CLEAR, RISEN, ONSET = -15.0, -10.0, -20.0  # dB of an attack: what sounds before it at most, and see `_onset`
STEEPER = 1.5  # times than an attack rises later: the beginning of its rise
ALONE = 0.03, 0.015  # s before and after an onset without another one
QUIET, WINDOW = (-0.02, -0.012), 0.02  # s around the expected onset: before it; where it is looked for, at most
SLOW_MS = 1.7  # ms by which onsets may differ (sigma): more tells nothing
UNSURE_MS = 0.25  # standard error of the offset at most: twice that is half a ms
FEWEST_PITCHES = 4
OF_PITCHES = 1.6  # share of the keys' variance in the error: each has its own attack, and a piece has only some
ATTACK_MS = -0.6, 12.0  # lateness that can be the attack's own: fluidsynth's piano rises 5 ms after its note-on
FLUX_HOP = 16  # samples
RISE = 0.003  # s
BLOCK = 10 * SAMPLE_RATE // FLUX_HOP * FLUX_HOP  # samples that are filtered at a time
REACH = 0.1  # s around the score's match where attacks are looked for
PACE_SLACK, PACE_STEP = 0.12, 0.002  # s by which the last onset is moved to find the pace
LEAST_LAG = 0.1  # s at the last onset by which a recording runs at another pace, though its offset isn't sure
LEAST_DRIFT_MS = 0.3  # over the recording
FEWEST_DRIFTING = 4  # repeated pitches that show a drift


@dataclass(frozen=True)
class Alignment:
    """The delay of a WAV's onsets behind its MIDI file's. offset_ms: the median; error_ms: its error, inf where
    nothing can be read; jitter_ms: standard deviation around each pitch's median, NaN if unknown; onsets that
    were read; pace: s of the recording for each s of the MIDI file; doubt: why the offset isn't sure, or empty."""

    offset_ms: float
    error_ms: float
    jitter_ms: float
    onsets: int
    pace: float = 1.0
    doubt: str = ""

    @property
    def samples(self) -> int:
        """Samples by which the recording is late, of whole ms, so that pieces of one instrument agree; rather fewer,
        since an attack rises after its note. 0 where this is an attack, or not sure."""
        attack = ATTACK_MS[0] <= self.offset_ms <= ATTACK_MS[1] or self.doubt
        return 0 if attack else round(np.floor(self.offset_ms + 0.45) / 1000 * SAMPLE_RATE)


def measure_alignment(audio: np.ndarray, notes: Sequence[Note], match: Match | None = None) -> Alignment:
    """Return the delay of the onsets in `audio` (samples,) behind those of `notes`. `match` gives it to some 50 ms, the
    mean rise of all onsets to some ms, and the onsets that stand clear of other notes to some tenths of a ms."""
    audio = audio[: round(MOST_SECONDS * SAMPLE_RATE)]
    match = match_score(audio, notes) if match is None else match
    if not match.fits or match.semitones:
        return Alignment(1000 * match.lag, np.inf, np.nan, 0, doubt="its onsets don't fit the MIDI file's clearly")
    starts = np.array([note.start for note in notes])
    lag, pace = _mean_rise(audio, starts, match)
    off_pace = match.pace != 1 and abs(pace - 1) * starts.max() >= LEAST_LAG
    rough = Alignment(1000 * lag, np.inf, np.nan, 0, pace if off_pace else 1.0)
    bands = [_clear_onsets(audio, notes, lag, pace, high_pass) for high_pass in HIGH_PASSES]
    release_pages(audio)
    readings = next((found for found in bands if len(found) >= ENOUGH_ONSETS), max(bands, key=len))
    if len(readings) < FEWEST_ONSETS:
        return replace(rough, onsets=len(readings), doubt="too few onsets stand clear of other notes")
    start, pitch, late = readings.T
    late = late + (pace - match.pace) * 1000 * start  # a pace has to be seen in the onsets of equal pitches
    groups = [np.flatnonzero(pitch == key) for key in np.unique(pitch[pitch > 0])]
    groups = [group for group in groups if len(group) > 1]
    slope, slope_error = _drift(start, late, groups)
    late = late - slope * start
    centre = float(np.median(late))
    sigma = _sigma(late - centre)
    pitches = len(np.unique(pitch))
    error = 1.25 * sigma * np.sqrt(1 / len(late) + OF_PITCHES / pitches)
    error = float(np.hypot(error, slope_error * np.median(start)))
    doubt = ""
    if pitches < FEWEST_PITCHES:
        doubt = f"its clear onsets are of {pitches} pitches only"
    elif sigma > SLOW_MS or error > UNSURE_MS:
        doubt = f"its attacks are slow, or differ by {sigma:.1f} ms"
    steps = [np.diff(late[group]) for group in groups]
    jitter = _sigma(np.concatenate(steps)) / np.sqrt(2) if groups else np.nan
    found = rough.pace if doubt else match.pace + slope / 1000
    return Alignment(centre, error, float(jitter), len(late), found, doubt)


def _sigma(deviations: np.ndarray) -> float:
    """Return the standard deviation of what is normal in deviations (n,): outliers don't count."""
    return float(1.4826 * np.median(np.abs(deviations)))


def _drift(start: np.ndarray, late: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return ms a second by which the lateness of equal pitches grows, and its standard error; 0 unless it explains
    half of their jitter."""
    if len(groups) < FEWEST_DRIFTING:
        return 0.0, 0.0
    t, x = (np.concatenate([values[group] - values[group].mean() for group in groups]) for values in (start, late))
    slope, _, least, most = scipy.stats.theilslopes(x, t, alpha=0.68) if len(t) <= MOST_ONSETS else (0.0,) * 4
    steady = _sigma(x - slope * t) <= 0.5 * _sigma(x)
    drifts = steady and abs(slope) * np.ptp(start) >= LEAST_DRIFT_MS
    return (float(slope), float(most - least) / 2) if drifts else (0.0, 0.0)


def _mean_rise(audio: np.ndarray, starts: np.ndarray, match: Match) -> tuple[float, float]:
    """Return lag in s and pace at which the energy of high frequencies rises most, averaged over the onsets."""
    starts = np.unique(starts)
    starts = starts[:: -(-len(starts) // MOST_ONSETS)]
    reach = round(REACH * SAMPLE_RATE / FLUX_HOP)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(_flux(audio), (reach, reach)), 2 * reach + 1)
    last, near = max(1.0, float(starts[-1])), round(0.03 * SAMPLE_RATE / FLUX_HOP)
    best = (-np.inf, match.lag, match.pace)
    for shift in sorted(np.arange(-PACE_SLACK, PACE_SLACK + 1e-9, PACE_STEP), key=abs):
        pace = match.pace + shift / last
        rows = np.rint((match.lag + pace * starts) * SAMPLE_RATE / FLUX_HOP).astype(int)
        mean = windows[rows[(rows >= 0) & (rows < len(windows))]].mean(axis=0)
        mean = scipy.ndimage.uniform_filter1d(mean, round(PACE_STEP * SAMPLE_RATE / FLUX_HOP))
        if mean.max() > 1.02 * best[0]:  # of nearly equal ones the pace nearest to the match's
            peak = int(np.argmax(mean))
            before = mean[max(0, peak - near) : peak + 1]
            at = peak + 1 - len(before) + int(np.argmax(before >= 0.6 * mean.max()))
            best = (mean.max(), match.lag + (at - reach) * FLUX_HOP / SAMPLE_RATE, pace)
    return best[1:]


def _flux(audio: np.ndarray) -> np.ndarray:
    """Return how much the level above 4 kHz grows in RISE s, float32 (hops of FLUX_HOP,), over the loudest around."""
    sections = scipy.signal.butter(2, HIGH_PASSES[1], "highpass", fs=SAMPLE_RATE, output="sos")
    state = np.zeros((len(sections), 2))
    energy = []
    for first in range(0, len(audio) // FLUX_HOP * FLUX_HOP, BLOCK):
        part = audio[first : min(first + BLOCK, len(audio) // FLUX_HOP * FLUX_HOP)]
        high, state = scipy.signal.sosfilt(sections, part, zi=state)
        energy.append(np.mean(high.reshape(-1, FLUX_HOP) ** 2, axis=1))
    release_pages(audio)
    rise = round(RISE * SAMPLE_RATE / FLUX_HOP)
    level = np.sqrt(np.maximum(0, scipy.ndimage.uniform_filter1d(np.concatenate(energy), rise)))
    growth = level[rise:] - level[:-rise]
    loudest = scipy.ndimage.maximum_filter1d(level, round(0.2 * SAMPLE_RATE / FLUX_HOP))[rise // 2 :][: len(growth)]
    return np.pad(growth / (loudest + 1e-6), (rise // 2, 0)).astype(np.float32)


def _clear_onsets(audio: np.ndarray, notes: Sequence[Note], lag: float, pace: float, high_pass: float) -> np.ndarray:
    """Return start in s, pitch (0: a chord) and delay in ms behind lag + pace start (onsets, 3), of the onsets before
    which the energy above `high_pass` Hz is CLEAR dB lower than what follows."""
    pitches: dict[float, list[int]] = {}
    for note in notes:
        pitches.setdefault(note.start, []).append(note.pitch)
    starts = np.array(sorted(pitches))
    gaps = np.diff(starts, prepend=-np.inf, append=np.inf)
    alone = starts[(gaps[:-1] >= ALONE[0]) & (gaps[1:] >= ALONE[1])]
    following = dict(zip(starts, [*starts[1:], np.inf], strict=True))
    sections = scipy.signal.butter(2, high_pass, "highpass", fs=SAMPLE_RATE, output="sos")
    before, quiet, ahead = (round(-by * SAMPLE_RATE) for by in (2 * QUIET[0], *QUIET))
    found = []
    for start in alone[:: -(-len(alone) // MOST_ONSETS) or 1]:
        expected = round((lag + pace * start) * SAMPLE_RATE)
        until = expected + round(min(WINDOW, following[start] - start - 0.005) * SAMPLE_RATE)
        if expected < before or until > len(audio):
            continue
        part = scipy.signal.sosfilt(sections, audio[expected - before : until]) ** 2
        part = scipy.ndimage.uniform_filter1d(part, 8)[before - quiet :]
        attack = part[quiet - ahead :].max()
        if attack > 1e-10 and part[: quiet - ahead].max() <= attack * 10 ** (CLEAR / 10):
            keys, moment = pitches[start], expected - quiet + _onset(part / attack)
            found.append((start, keys[0] if len(keys) == 1 else 0, 1000 * (moment / SAMPLE_RATE - pace * start)))
    return np.array(found).reshape(-1, 3)


def _onset(energy: np.ndarray) -> float:
    """Return the sample at which an attack, energy (samples,) up to 1, is at ONSET dB: beyond what can be seen, it goes
    on as it rises from CLEAR to RISEN, STEEPER times as steeply."""
    clear, risen = (int(np.argmax(energy >= 10 ** (level / 10))) for level in (CLEAR, RISEN))
    return clear - (risen - clear) * (CLEAR - ONSET) / (RISEN - CLEAR) / STEEPER
