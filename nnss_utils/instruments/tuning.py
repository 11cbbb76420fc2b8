"""The piano's own tuning: f0 and inharmonicity B of each key, measured on a recording (notebook 01_codification).

Partial h of a stiff string sounds at f_h = h f0 sqrt(1 + B h^2) (Fletcher 1964): squared and divided by h^2,
a straight line in h^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.midi import Note, midi_to_hz

TOP = 20_000.0  # Hz, where partials end


@dataclass(frozen=True)
class Tuning:
    """f0 (Hz) and B (no unit) of the keys from `low` up, and the measured partials (Hz; 0 where the law is used).

    A real partial lies some Hz beside the law; where the codification follows it, the network's mask is constant.
    """

    low: int
    f0: tuple[float, ...]
    inharmonicity: tuple[float, ...]
    measured: tuple[tuple[float, ...], ...]

    @property
    def high(self) -> int:
        """Highest pitch."""
        return self.low + len(self.f0) - 1

    def partials(self, pitch: int) -> np.ndarray:
        """Return the frequencies (Hz, float64) of every partial of a key up to 20 kHz.

        Raises `InputError` for a key outside the recording's range.
        """
        if not self.low <= pitch <= self.high:
            raise InputError(
                f"pitch {pitch} is outside {self.low}..{self.high}, the range of the training pair; "
                "transpose the piece or give a pair with a wider range"
            )
        key = pitch - self.low
        frequencies = partial_frequencies(self.f0[key], self.inharmonicity[key])
        measured = np.asarray(self.measured[key][: len(frequencies)])
        frequencies[: len(measured)] = np.where(measured > 0, measured, frequencies[: len(measured)])
        return frequencies


def typical_inharmonicity(pitch: float) -> float:
    """Return the usual B of a grand piano's key: a bass bridge and a treble bridge (cf. Rigaud 2013)."""
    return float(np.exp(0.0926 * pitch - 13.64) + np.exp(-0.0847 * pitch - 6.4))


def partial_frequencies(f0: float, inharmonicity: float, top: float = TOP) -> np.ndarray:
    """Return the frequencies (Hz, float64) of every partial up to `top`."""
    h = np.arange(1, int(top / f0) + 2)
    f = h * f0 * np.sqrt(1 + inharmonicity * h**2)
    return f[f <= top]


def estimate_tuning(audio: np.ndarray, notes: Sequence[Note], low: int, high: int) -> Tuning:
    """Return the tuning of the keys low..high from a recording (samples,) of `notes`.

    Each key is measured in the longest stretch in which it sounds alone; a key without one, or whose peaks don't fit
    the law, takes its B from the keys around it.
    """
    spectra, fits = {}, {}
    for pitch, (start, end) in solo_stretches(notes).items():
        longest = np.clip(300 / midi_to_hz(pitch), 0.25, 2.0)  # high partials decay soon
        sound = audio[round(start * SAMPLE_RATE) : round(min(end, start + longest) * SAMPLE_RATE)]
        if low <= pitch <= high and len(sound) > 2048:
            spectra[pitch] = _level_spectrum(sound)
            fits[pitch] = estimate_key(*spectra[pitch], pitch)
    table = _smoothed(fits, low, high)
    measured = [_measured_partials(*spectra[p], *table[p]) if p in spectra else () for p in table]
    return Tuning(low, tuple(k[0] for k in table.values()), tuple(k[1] for k in table.values()), tuple(measured))


def solo_stretches(notes: Sequence[Note], longest: float = 2.0, settle: float = 0.02) -> dict:
    """Return for each pitch the (start, end) in seconds of the longest stretch in which it sounds alone."""
    found: dict[int, tuple[float, float]] = {}
    notes = sorted(notes)
    last_end = 0.0
    for i, note in enumerate(notes):
        following = notes[i + 1].start if i + 1 < len(notes) else note.end
        start, end = max(note.start + settle, last_end), min(note.end, following, note.start + longest)
        if end - start > np.subtract(*found.get(note.pitch, (0, 0))[::-1]):
            found[note.pitch] = (start, end)
        last_end = max(last_end, note.end)
    return found


def estimate_key(levels: np.ndarray, step: float, pitch: int) -> tuple[float, float, int]:
    """Return (f0, B, partials used) of one key from the levels (dB) of its spectrum with bins `step` Hz apart."""
    f0, b = _coarse_fit(levels, step, pitch)
    used = 0
    for count in (6, 10, 16, 24, 40, 60):  # from the lowest partials up, as the fit gets better
        h, f, weight = _peaks(levels, step, f0, b, count)
        if len(h) < 2:
            break
        f0, b = _line_fit(h, f, weight)
        used = len(h)
    return f0, b, used


def _measured_partials(levels: np.ndarray, step: float, f0: float, b: float, count: int = 100) -> tuple[float, ...]:
    """Return the measured frequency of each partial from the first on, 0 where there is no clear peak."""
    h, f, _ = _peaks(levels, step, f0, b, count)
    table = np.zeros(int(h.max()) if len(h) else 0)
    if len(h):
        table[h.astype(int) - 1] = np.round(f, 3)
    return tuple(table.tolist())


def _level_spectrum(sound: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the levels (dB) of a zero-padded Hann spectrum and the step of its bins in Hz."""
    size = 4 * 2 ** int(np.ceil(np.log2(len(sound))))
    spectrum = np.abs(np.fft.rfft(sound * scipy.signal.get_window("hann", len(sound)), size))
    return 20 * np.log10(spectrum + 1e-9), SAMPLE_RATE / size


def _coarse_fit(levels: np.ndarray, step: float, pitch: int) -> tuple[float, float]:
    """Return the (f0, B) near the expected values whose partials are strongest."""
    f0 = midi_to_hz(pitch) * 2 ** (np.arange(-60, 61, 2) / 1200)[:, None, None]
    b = typical_inharmonicity(pitch) * 2.0 ** np.linspace(-1.2, 1.2, 41)[None, :, None]
    h = np.arange(1, min(20, int(TOP / midi_to_hz(pitch))) + 1)[None, None, :]
    f = h * f0 * np.sqrt(1 + b * h**2)
    index = np.minimum((f / step).round().astype(int), len(levels) - 1)
    peak = levels.max()
    smeared = scipy.ndimage.maximum_filter1d(levels, 5)
    score = np.sum(np.maximum(smeared, peak - 70)[index] * (f < TOP), axis=2)
    i, j = np.unravel_index(np.argmax(score), score.shape)
    return float(f0[i, 0, 0]), float(b[0, j, 0])


def _peaks(levels: np.ndarray, step: float, f0: float, b: float, count: int) -> tuple:
    """Return (h, Hz, weight) of those partials 1..count that have a peak where the law expects one."""
    h_found, f_found, weights, loudest = [], [], [], levels.max()
    for h, f in enumerate(partial_frequencies(f0, b)[:count], start=1):
        reach = max(3, int(min(0.2 * f0, 0.006 * f + 2) / step))
        centre = round(f / step)
        low, high = centre - reach, centre + reach + 1
        if low < 1 or high >= len(levels) - 1:
            continue
        top = low + int(np.argmax(levels[low:high]))
        if top in (low, high - 1) or levels[top] < loudest - 75:
            continue
        floor = np.median(levels[max(0, centre - int(0.5 * f0 / step)) : centre + int(0.5 * f0 / step) + 1])
        if levels[top] < floor + 12:
            continue
        a, m, c = levels[top - 1 : top + 2]
        h_found.append(h)
        f_found.append((top + 0.5 * (a - c) / (a - 2 * m + c)) * step)
        weights.append(10 ** ((levels[top] - loudest) / 40))
    return np.array(h_found), np.array(f_found), np.array(weights)


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
    """Return (f0, B) of low..high: as measured where B fits the keys around it, else B from those keys."""
    good = {p: fit for p, fit in fits.items() if fit[2] >= 3 and 1e-6 < fit[1] < 0.1}

    def usual_inharmonicity(pitch: int) -> float:
        near = sorted(good, key=lambda p: abs(p - pitch))[:7]
        ratio = np.median([np.log(good[p][1] / typical_inharmonicity(p)) for p in near] or [0.0])
        return typical_inharmonicity(pitch) * float(np.exp(ratio))

    table = {}
    for pitch in range(low, high + 1):
        nominal = midi_to_hz(pitch)
        f0, b, used = fits.get(pitch, (nominal, 0.0, 0))
        if used == 0:
            f0, b = nominal, 0.0
        usual = usual_inharmonicity(pitch)
        if not 0.5 < b / usual < 2:
            f0, b = f0 * np.sqrt((1 + b) / (1 + usual)), usual  # keeps the first partial at its measured frequency
        table[pitch] = (float(f0) if abs(np.log2(f0 / nominal)) < 1 / 12 else nominal, float(b))
    return table
