"""The piano's own tuning: f0 and inharmonicity B of each key, measured on a recording (notebook 01_codification).
Partial h of a stiff string sounds at f_h = h f0 sqrt(1 + B h^2) (Fletcher 1964): (f_h / h)^2 is a line in h^2."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import scipy.ndimage
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.midi import Note, midi_to_hz

TOP = 20_000.0  # Hz, where partials end


@dataclass(frozen=True)
class Tuning:
    """f0 (Hz) and B (no unit) of the keys from `low` up, the measured partials (Hz; 0: the law's), and each key's modes
    (Hz; modes.py), empty if not measured. Partials lie some Hz beside the law; where the codification follows them, the
    network's mask is constant."""

    low: int
    f0: tuple[float, ...]
    inharmonicity: tuple[float, ...]
    measured: tuple[tuple[float, ...], ...]
    modes: tuple[tuple[float, ...], ...] = ()

    @property
    def high(self) -> int:
        """Highest pitch."""
        return self.low + len(self.f0) - 1

    def partials(self, pitch: int) -> np.ndarray:
        """Return the frequencies (Hz, float64) of a key's partials up to 20 kHz; raises `InputError` out of range."""
        if not self.low <= pitch <= self.high:
            place = f"pitch {pitch} is outside {self.low}..{self.high}, the range of the training pair"
            raise InputError(f"{place}; transpose the piece or give a pair with a wider range")
        f0, b, measured = (part[pitch - self.low] for part in (self.f0, self.inharmonicity, self.measured))
        frequencies = partial_frequencies(f0, b)
        measured = np.asarray(measured[: len(frequencies)])
        frequencies[: len(measured)] = np.where(measured > 0, measured, frequencies[: len(measured)])
        return frequencies


def typical_inharmonicity(pitch: float) -> float:
    """Return the usual B of a grand piano's key: a bass bridge and a treble bridge (cf. Rigaud 2013)."""
    return float(np.exp(0.0926 * pitch - 13.64) + np.exp(-0.0847 * pitch - 6.4))


def partial_frequencies(f0: float, inharmonicity: float) -> np.ndarray:
    """Return the frequencies (Hz, float64) of every partial up to TOP."""
    h = np.arange(1, int(TOP / f0) + 2)
    f = h * f0 * np.sqrt(1 + inharmonicity * h**2)
    return f[f <= TOP]


def estimate_tuning(audio: np.ndarray, notes: Sequence[Note], low: int, high: int) -> Tuning:
    """Return the tuning of the keys low..high, each measured where it sounds alone in audio (samples,) of `notes`."""
    spectra, fits = {}, {}
    for pitch, (start, end) in solo_stretches(notes).items():
        longest = np.clip(300 / midi_to_hz(pitch), 0.25, 2.0)  # high partials decay soon
        sound = audio[round(start * SAMPLE_RATE) : round(min(end, start + longest) * SAMPLE_RATE)]
        if low <= pitch <= high and len(sound) > 2048:
            size = 4 * 2 ** int(np.ceil(np.log2(len(sound))))
            spectrum = np.abs(np.fft.rfft(sound * scipy.signal.get_window("hann", len(sound)), size))
            spectra[pitch] = 20 * np.log10(spectrum + 1e-9), SAMPLE_RATE / size
            fits[pitch] = estimate_key(*spectra[pitch], pitch)
    table = _smoothed(fits, low, high)
    measured = [_measured_partials(*spectra[p], *table[p]) if p in spectra else () for p in table]
    return Tuning(low, *zip(*table.values(), strict=True), tuple(measured))


def solo_stretches(notes: Sequence[Note], longest: float = 2.0) -> dict:
    """Return for each pitch the (start, end) in seconds of the longest stretch in which it sounds alone, up to
    `longest` s after its note's start."""
    found: dict[int, tuple[float, float]] = {}
    notes, last_end = sorted(notes), 0.0
    for note, following in zip_longest(notes, notes[1:]):
        start = max(note.start + 0.02, last_end)
        end = min(note.end, following.start if following else note.end, note.start + longest)
        if end - start > np.subtract(*found.get(note.pitch, (0, 0))[::-1]):
            found[note.pitch] = (start, end)
        last_end = max(last_end, note.end)
    return found


def estimate_key(levels: np.ndarray, step: float, pitch: int) -> tuple[float, float, int]:
    """Return (f0, B, partials used) of one key from the levels (dB) of its spectrum with bins `step` Hz apart."""
    (f0, b), used = _coarse_fit(levels, step, pitch), 0
    for count in (6, 10, 16, 24, 40, 60):  # from the lowest partials up, as the fit gets better
        h, f, weight = _peaks(levels, step, f0, b, count)
        if len(h) < 2:
            break
        (f0, b), used = _line_fit(h, f, weight), len(h)
    return f0, b, used


def _measured_partials(levels: np.ndarray, step: float, f0: float, b: float, count: int = 100) -> tuple[float, ...]:
    h, f, _ = _peaks(levels, step, f0, b, count)
    table = np.zeros(h.max(initial=0))
    table[h - 1] = np.round(f, 3)
    return tuple(table.tolist())


def _coarse_fit(levels: np.ndarray, step: float, pitch: int) -> tuple[float, float]:
    """Return the (f0, B) near the expected values whose partials are strongest."""
    f0 = midi_to_hz(pitch) * 2 ** (np.arange(-60, 61, 2) / 1200)[:, None, None]
    b = typical_inharmonicity(pitch) * 2.0 ** np.linspace(-1.2, 1.2, 41)[None, :, None]
    h = np.arange(1, min(20, int(TOP / midi_to_hz(pitch))) + 1)[None, None, :]
    f = h * f0 * np.sqrt(1 + b * h**2)
    index = np.minimum((f / step).round().astype(int), len(levels) - 1)
    smeared = np.maximum(scipy.ndimage.maximum_filter1d(levels, 5), levels.max() - 70)
    score = np.sum(smeared[index] * (f < TOP), axis=2)
    i, j = np.unravel_index(np.argmax(score), score.shape)
    return float(f0[i, 0, 0]), float(b[0, j, 0])


def _peaks(levels: np.ndarray, step: float, f0: float, b: float, count: int) -> tuple:
    """Return (h, Hz, weight) of those partials 1..count that have a peak where the law expects one."""
    found, loudest = [], levels.max()
    for h, f in enumerate(partial_frequencies(f0, b)[:count], start=1):
        reach, centre, around = max(3, int(min(0.2 * f0, 0.006 * f + 2) / step)), round(f / step), int(0.5 * f0 / step)
        low, high = centre - reach, centre + reach + 1
        if low < 1 or high >= len(levels) - 1:
            continue
        top = low + int(np.argmax(levels[low:high]))
        floor = np.median(levels[max(0, centre - around) : centre + around + 1])
        if top in (low, high - 1) or levels[top] < max(loudest - 75, floor + 12):
            continue
        a, m, c = levels[top - 1 : top + 2]
        found.append((h, (top + 0.5 * (a - c) / (a - 2 * m + c)) * step, 10 ** ((levels[top] - loudest) / 40)))
    h, f, weight = np.array(found).reshape(-1, 3).T
    return h.astype(int), f, weight


def _line_fit(h: np.ndarray, f: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return (f0, B) of the weighted line (f/h)^2 = f0^2 + f0^2 B h^2, without outliers."""
    keep = np.ones(len(h), bool)
    for _ in range(3):
        slope, intercept = np.polyfit(h[keep] ** 2, (f[keep] / h[keep]) ** 2, 1, w=weight[keep] * np.sqrt(h[keep]))
        slope = max(slope, 0.0)
        residual = np.abs(f - h * np.sqrt(intercept + slope * h**2))
        keep = residual <= max(3 * np.median(residual), 0.1)
        if keep.sum() < 2:
            break
    return float(np.sqrt(intercept)), float(slope / intercept)


def _smoothed(fits: dict[int, tuple[float, float, int]], low: int, high: int) -> dict[int, tuple[float, float]]:
    """Return (f0, B) of low..high: as measured where B fits the keys around it, else with the B of those keys."""
    good = {p: fit for p, fit in fits.items() if fit[2] >= 3 and 1e-6 < fit[1] < 0.1}
    table = {}
    for pitch in range(low, high + 1):
        near = sorted(good, key=lambda p: abs(p - pitch))[:7]
        ratio = np.median([np.log(good[p][1] / typical_inharmonicity(p)) for p in near] or [0.0])
        nominal, usual = midi_to_hz(pitch), typical_inharmonicity(pitch) * float(np.exp(ratio))
        f0, b = fits[pitch][:2] if pitch in fits and fits[pitch][2] else (nominal, 0.0)
        if not 0.5 < b / usual < 2:
            f0, b = f0 * np.sqrt((1 + b) / (1 + usual)), usual  # keeps the first partial at its measured frequency
        table[pitch] = (float(f0) if abs(np.log2(f0 / nominal)) < 1 / 12 else nominal, float(b))
    return table
