"""Measures of onsets: rise, pre-echo, repetition, and the hammer's thump (notebook 13_attacks_and_alternatives). Sounds
are float (samples,) at 44.1 kHz, onsets are in seconds."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation.metrics import ratio_db
from nnss_utils.midi import Note

ENVELOPE_SECONDS = 0.001  # of the window that smooths the envelope
THUMP_SECONDS = 0.05
THUMP_HZ = (60.0, 500.0)  # below the partials of the keys that it is measured at
STEPS_PER_SEMITONE = 4
FARTHEST_SHIFT = 6.0  # semitones

Play = Callable[[Sequence[Note]], np.ndarray]  # notes -> sound


def envelope(sound: np.ndarray) -> np.ndarray:
    """Return the root mean square over a millisecond around each sample."""
    window = np.ones(round(ENVELOPE_SECONDS * SAMPLE_RATE))
    return np.sqrt(np.convolve(np.square(sound, dtype=np.float64), window / len(window), mode="same"))


def attack_seconds(sound: np.ndarray, onset: float) -> float:
    """Return the time that the envelope takes from 10 to 90 % of its highest value in the 0.1 s after an onset."""
    first = round(onset * SAMPLE_RATE)
    rising = envelope(sound[first : first + round(0.1 * SAMPLE_RATE)])
    rising = rising[: int(np.argmax(rising)) + 1]
    at = [int(np.argmax(rising >= part * rising[-1])) for part in (0.1, 0.9)]
    return (at[1] - at[0]) / SAMPLE_RATE


def stretches(sound: np.ndarray, onsets: np.ndarray, seconds: float, shift: int = 0) -> np.ndarray:
    """Return the `seconds` after each onset, float64 (onsets, samples), padded with zeros; shift -1: before it."""
    size = round(seconds * SAMPLE_RATE)
    padded = np.pad(np.asarray(sound, np.float64), size)
    at = np.round(np.asarray(onsets) * SAMPLE_RATE).astype(int) + size * (1 + shift)
    return np.stack([padded[first : first + size] for first in at])


def pre_onset_db(sound: np.ndarray, onsets: np.ndarray) -> float:
    """Return the energy in the 20 ms before onsets over that after them, in dB; earlier notes must have ended."""
    before, after = (sum(np.sum(part**2) for part in stretches(sound, onsets, 0.02, shift)) for shift in (-1, 0))
    return ratio_db(before, after)


def repetition_db(sound: np.ndarray, onsets: np.ndarray) -> float:
    """Return the variance between the first 0.1 s of repetitions of one note over their energy, in dB."""
    strikes = stretches(sound, onsets, 0.1)
    return ratio_db(np.sum((strikes - strikes.mean(axis=0)) ** 2), np.sum(strikes**2))


def thump_spectrum(strike: np.ndarray) -> np.ndarray:
    """Return the level (dB) of a strike's first 50 ms over THUMP_HZ, evenly in the logarithm of frequency."""
    size = round(THUMP_SECONDS * SAMPLE_RATE)
    part = np.asarray(strike[:size], np.float64) * scipy.signal.get_window("hann", 2 * size)[size:][: len(strike)]
    spectrum = np.abs(np.fft.rfft(part, 16 * size))
    f = THUMP_HZ[0] * 2 ** (np.arange(0, 12 * np.log2(THUMP_HZ[1] / THUMP_HZ[0]), 1 / STEPS_PER_SEMITONE) / 12)
    return 20 * np.log10(np.interp(f, np.fft.rfftfreq(16 * size, 1 / SAMPLE_RATE), spectrum) + 1e-9)


def thump_shift(low: np.ndarray, high: np.ndarray) -> float:
    """Return the semitones by which one strike's thump lies above another's, where their spectra agree best. It is 0
    for a hammer that sounds the same under every key, and the interval itself for a recording played faster."""
    a, b = (thump_spectrum(strike) for strike in (low, high))
    lags = range(-round(FARTHEST_SHIFT * STEPS_PER_SEMITONE), round(FARTHEST_SHIFT * STEPS_PER_SEMITONE) + 1)
    parts = ((a[max(0, -lag) : len(a) - max(0, lag)], b[max(0, lag) : len(b) + min(0, lag)]) for lag in lags)
    return float(lags[np.argmax([np.corrcoef(*part)[0, 1] for part in parts])] / STEPS_PER_SEMITONE)


def attack_panel(play: Play, pitches: Sequence[int], seed: int = 0) -> dict[str, float]:
    """Return measures of the onsets that `play` renders: notes alone, repeated, and three semitones apart.
    attack_ms: the median over pitches of the rise from 10 to 90 %; pre_onset_db; repetition_db of eight strikes of the
    middle pitch at random samples; thump_semitones: the median shift of the thump from a key to the one three semitones
    higher, over the keys from C#6 up, whose partials lie above it."""
    rng = np.random.default_rng(seed)
    apart = 1.2 + np.cumsum(1.5 + 0.1 * rng.random(len(pitches)))
    times = 0.5 + np.cumsum(1.0 + rng.random(8))
    middle = sorted(pitches)[len(pitches) // 2]
    sound = play([Note(t, t + 0.4, pitch) for t, pitch in zip(apart.tolist(), pitches, strict=True)])
    again = play([Note(t, t + 0.3, middle) for t in times.tolist()])
    shifts = [thump_shift(*(play([Note(0.0, 0.3, key + up)]) for up in (0, 3))) for key in range(85, 101)]
    return {
        "attack_ms": float(np.median([1000 * attack_seconds(sound, onset) for onset in apart.tolist()])),
        "pre_onset_db": pre_onset_db(sound, apart),
        "repetition_db": repetition_db(again, times),
        "thump_semitones": float(np.median(shifts)),
    }
