"""Training pairs: a MIDI file and the WAV that an instrument made of it (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.signal

from nnss_utils.errors import InputError
from nnss_utils.instrument import Instrument, on_grid
from nnss_utils.midi import Note, read_midi
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.wav import read_wav, stored, unload

HOP = 64  # samples between two values of the onset envelope
HIGH_PASS = 4000.0  # Hz, above which an attack stands out from the notes that still sound
FARTHEST = 5.0  # s between a WAV and its MIDI that the coarse search covers
MOST_ONSETS = 2000  # that are read: hours of music need no more
LEAST_CORRECTION_MS = 1.0  # below this an offset is the instrument's own attack


@dataclass(frozen=True)
class Pair:
    """Notes and their sound, float32 (samples,) at 44.1 kHz, with who played it and how it came about.

    `late` is by how many samples the recording was late before it was moved.
    """

    notes: tuple[Note, ...]
    audio: np.ndarray
    instrument: str
    description: str
    late: int = 0

    @property
    def pitches(self) -> tuple[int, int]:
        """Its lowest and highest pitch."""
        return min(note.pitch for note in self.notes), max(note.pitch for note in self.notes)


@dataclass(frozen=True)
class Timing:
    """How far a WAV's onsets lie behind its MIDI's in ms, and how many onsets told so.

    offset: the median; earliest: the tenth part that rises first, so free of slow attacks; jitter: the spread.
    """

    offset_ms: float
    earliest_ms: float
    jitter_ms: float
    onsets: int


def make_pair(notes: Sequence[Note], instrument: Instrument) -> Pair:
    """Return the pair of notes and what the instrument plays of them, sample-exact."""
    notes = on_grid(notes, instrument.grid)
    audio = instrument.render(notes)
    description = f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, by {instrument.name}"
    return Pair(tuple(notes), audio, instrument.name, description)


def load_pair(midi: str | Path, wav: str | Path) -> Pair:
    """Return the user's own pair, checked and brought together in time.

    Raises `InputError` for a WAV of another rate, shorter than its MIDI, or silent. Of several channels the left
    is taken. The offset between both is told and corrected; the jitter that remains bounds the bandwidth that can
    be learnt: a partial at f shrinks by exp(-(2 pi f jitter)^2 / 2).
    """
    if not (midi and wav):
        raise InputError(
            f"midi={str(midi)!r}, wav={str(wav)!r}: a pair of your own needs both, the MIDI file and its WAV"
        )
    notes = read_midi(midi)
    audio = read_wav(wav)
    last = max(note.end for note in notes)
    if len(audio) < last * SAMPLE_RATE - 1:
        raise InputError(
            f"{wav} lasts {len(audio) / SAMPLE_RATE:.2f} s, its MIDI file {midi} {last:.2f} s; "
            "export the whole piece, or give the MIDI file that belongs to it"
        )
    timing = measure_timing(audio, notes)
    unload(audio)
    said = _told(timing)
    print(f"{Path(wav).name}: {said}")
    late = lateness(timing)
    if late:
        audio = moved(audio, -late)
        print(f"offset corrected: the WAV moved by {-late} samples")
    description = (
        f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, of {Path(midi).name} and {Path(wav).name}, "
        f"{said}, moved by {-late} samples"
    )
    return Pair(tuple(notes), audio, f"own recording {Path(wav).name}", description, late)


def _told(timing: Timing | None) -> str:
    if timing is None:
        return "no onset of the MIDI file can be read in it (is it of this piece?), offset and jitter unknown"
    return (
        f"onsets {timing.offset_ms:+.2f} ms behind the MIDI file's, jitter {timing.jitter_ms:.2f} ms "
        f"({timing.onsets} onsets)"
    )


def lateness(timing: Timing | None) -> int:
    """Return by how many samples a recording is late, 0 where it is only the attack's own rise, or unknown."""
    if timing is None:
        return 0
    late = round(timing.earliest_ms / 1000 * SAMPLE_RATE)
    return late if abs(timing.earliest_ms) >= LEAST_CORRECTION_MS else 0


def moved(audio: np.ndarray, samples: int) -> np.ndarray:
    """Return `audio` (samples,) so many samples later, earlier where negative."""
    if samples <= 0:
        return audio[-samples:]
    return stored((np.zeros(samples, np.float32), audio), len(audio) + samples)


def read_target(wav: str | Path, notes: Sequence[Note], late: int) -> np.ndarray:
    """Return a recording of `notes` to measure by, moved like the pair that its model learnt from.

    Measured attacks differ from piece to piece by tenths of a ms, enough to spoil every phase: so the training
    pair's own lateness (samples) counts, unless this recording's is another one by more than 5 ms.
    """
    audio = read_wav(wav)
    timing = measure_timing(audio, notes)
    own = lateness(timing)
    late = late if timing is None or abs(own - late) < 0.005 * SAMPLE_RATE else own
    if late:
        print(f"{Path(wav).name}: moved by {-late} samples")
    return moved(audio, -late)


def measure_timing(audio: np.ndarray, notes: Sequence[Note]) -> Timing | None:
    """Return how far the onsets in `audio` lie behind those of `notes`, None where no onset can be read.

    A correlation of onset envelopes finds the offset to some ms, then each onset's rise is read to the sample,
    in the highs or in the whole band, whichever shows more of them. Keys rise differently, so the jitter is that
    of each pitch around its own mean.
    """
    coarse = _coarse_offset(audio, notes)
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


def _coarse_offset(audio: np.ndarray, notes: Sequence[Note], longest: float = 600.0) -> float:
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
