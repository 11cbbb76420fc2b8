"""Measures between a target and a prediction, float (samples,) at 44.1 kHz (notebook 06_evaluation explains each).
Nothing is aligned or matched in level first. Spectra are made in stretches, so an hour needs no more memory."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral, stft, third_octave_edges
from nnss_utils.evaluation import OCTAVES
from nnss_utils.paths import release_pages

FLOOR_DB = -80.0  # below the target's strongest bin
ATTACK_SECONDS = 0.04
MULTI_SCALE = (2048, 1024, 512, 256, 128, 64)  # FFT sizes
_STRETCH = 512  # frames at a time
_SAMPLES = 2**20  # at a time


def correlation(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the correlation of the waveforms, 0 where either is silent."""
    y, p, product, _ = _waveform_sums(target, prediction)
    return float(product / np.sqrt(y * p)) if y * p > 0 else 0.0


def snr_db(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return 10 log10 of the target's energy over the error's."""
    y, _, _, error = _waveform_sums(target, prediction)
    return ratio_db(y, error)


def _waveform_sums(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the energies of target and prediction, the sum of their products, and the error's energy, float64 (4,)."""
    sums = np.zeros(4)
    for at in range(0, len(target), _SAMPLES):
        y, p = (x[at : at + _SAMPLES].astype(np.float64) for x in (target, prediction))
        sums += [y @ y, p @ p, y @ p, np.sum((y - p) ** 2)]
        for x in (target, prediction):
            release_pages(x)
    return sums


def ratio_db(numerator: float, denominator: float) -> float:
    """Return 10 log10 of an energy ratio, limited to +-200 dB so that JSON and tables can hold it."""
    return float(np.clip(10 * np.log10((numerator + 1e-30) / (denominator + 1e-30)), -200, 200))


def spectra(target: np.ndarray, prediction: np.ndarray, spectral: Spectral) -> Iterator[tuple]:
    """Yield (first frame, Y, P): stretches of both spectrograms, complex64 (frames, bins)."""
    length, step = spectral.frame_length, spectral.frame_step
    count = max(1, 1 + (len(target) - length) // step)
    for first in range(0, count, _STRETCH):
        last = min(first + _STRETCH, count)
        part = slice(first * step, (last - 1) * step + length)
        pair = [np.pad(x[part], (0, max(0, length - len(x[part])))) for x in (target, prediction)]
        yield first, *(stft(x, spectral, pad=False) for x in pair)
        for x in (target, prediction):
            release_pages(x)


def _all_bins(frame_length: int, frame_step: int) -> Spectral:
    return Spectral(frame_length, frame_step, bins=frame_length // 2 + 1)


def _band_sums(target: np.ndarray, prediction: np.ndarray, edges: Sequence[float], floor: float = 0.0) -> np.ndarray:
    """Return the energies of target, error and prediction and the sum and number of squared level differences over
    `floor` (zeros without a floor) in each band between `edges` (Hz): (bands, 5), on an STFT of 2048/512."""
    spectral = _all_bins(2048, 512)
    frequencies = spectral.frequencies()
    masks = [(frequencies >= low) & (frequencies < high) for low, high in pairwise(edges)]
    sums = np.zeros((len(masks), 5))
    for _, Y, P in spectra(target, prediction, spectral):
        for row, mask in zip(sums, masks, strict=True):
            y, p = Y[:, mask].astype(np.complex128), P[:, mask]
            squares = np.sum(level_difference_db(y, p, floor) ** 2) if floor else 0.0
            row += [energy(y), energy(y - p), energy(p), squares, y.size]
    return sums


def bands(target: np.ndarray, prediction: np.ndarray) -> list[dict]:
    """Return for each octave low_hz, high_hz, snr_db, lsd_db, level_db on an STFT of 2048/512."""
    sums = _band_sums(target, prediction, OCTAVES, lsd_floor(target, _all_bins(2048, 512)))
    return [
        {"low_hz": low, "high_hz": high, "snr_db": ratio_db(y, e), "lsd_db": float(np.sqrt(squares / count)),
         "level_db": ratio_db(p, y)}
        for (low, high), (y, e, p, squares, count) in zip(pairwise(OCTAVES), sums, strict=True)
    ]  # fmt: skip


def lsd_db(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the log-spectral distance (dB) over all bins and frames of an STFT of 2048/512."""
    floor = lsd_floor(target, _all_bins(2048, 512))
    ((*_, squares, count),) = _band_sums(target, prediction, (0, np.inf), floor)
    return float(np.sqrt(squares / count))


def energy(x: np.ndarray) -> float:
    """Return the sum of squared magnitudes."""
    return float(np.sum(x.real**2 + x.imag**2))


def lsd_floor(target: np.ndarray, spectral: Spectral) -> float:
    """Return the energy below which levels don't count in an LSD: FLOOR_DB over the target's strongest bin, above 0."""
    peak = max(float(np.max(np.abs(Y)) ** 2) for _, Y, _ in spectra(target, target, spectral))
    return max(peak * 10 ** (FLOOR_DB / 10), 1e-30)


def level_difference_db(Y: np.ndarray, P: np.ndarray, floor: float) -> np.ndarray:
    """Return the level of P over Y in dB, bin by bin, both at least the energy `floor`."""
    levels = [np.log10(np.maximum(np.abs(x) ** 2, max(floor, 1e-30))) for x in (P, Y)]
    return 10 * (levels[0] - levels[1])  # a ratio could overflow


def attack_sustain_lsd_db(target: np.ndarray, prediction: np.ndarray, onsets: Sequence[float]) -> tuple[float, float]:
    """Return the log-spectral distance (dB) in attacks and in the rest, on an STFT of 512/64. Attacks are the frames
    whose middle lies in the 40 ms after an onset (seconds); a distance without frames is 0."""
    spectral = _all_bins(512, 64)
    floor, sums = lsd_floor(target, spectral), np.zeros((2, 2))
    onsets = np.concatenate([[-np.inf], np.sort(np.asarray(onsets, np.float64))])
    for first, Y, P in spectra(target, prediction, spectral):
        middle = ((first + np.arange(len(Y))) * 64 + 256) / SAMPLE_RATE
        attack = middle - onsets[np.searchsorted(onsets, middle, side="right") - 1] < ATTACK_SECONDS
        squares = level_difference_db(Y, P, floor) ** 2
        sums += [[squares[chosen].sum(), squares[chosen].size] for chosen in (attack, ~attack)]
    return tuple(float(np.sqrt(total / max(count, 1))) for total, count in sums)


def third_octave_energies(sound: np.ndarray) -> np.ndarray:
    """Return the energy of a sound in each third-octave band from 100 Hz to 20 kHz, on an STFT of 2048/512."""
    return _band_sums(sound, sound, third_octave_edges())[:, 0]


def bandwidth_hz(target: np.ndarray, prediction: np.ndarray, within_db: float = 60.0) -> float:
    """Return the upper edge (Hz) of the highest third-octave band, counted up from 100 Hz, that is still right. Every
    band so far whose target lies within `within_db` of the strongest band must be within 6 dB in level and above 0 dB
    in complex SNR; 0 if the first is not. Fainter bands don't count: no prediction exceeds the target's limit, the
    bandwidth of the target compared with itself."""
    edges = third_octave_edges()
    sums, reached = _band_sums(target, prediction, edges), 0.0
    for high, (y, e, p, *_) in zip(edges[1:], sums, strict=True):
        if ratio_db(y, sums[:, 0].max()) >= -within_db:
            if abs(ratio_db(p, y)) > 6 or ratio_db(y, e) <= 0:
                break
            reached = float(high)
    return reached


def snr_map(target: np.ndarray, prediction: np.ndarray, times: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies of target and error, each (octaves, stretches of time), of one note that starts at 0. Octaves
    are OCTAVES, stretches lie between `times` (s, ascending); the filters have zero phase, so that a short stretch
    after the onset is seen as such."""
    at, pad = np.round(np.asarray(times) * SAMPLE_RATE).astype(int), SAMPLE_RATE // 10
    both = np.stack([np.asarray(target, np.float64), np.asarray(target, np.float64) - prediction])
    sums = []
    for band in pairwise(OCTAVES):
        sections = scipy.signal.butter(4, band, "bandpass", fs=SAMPLE_RATE, output="sos")
        parts = scipy.signal.sosfiltfilt(sections, np.pad(both, ((0, 0), (pad, pad))))[:, pad:]
        sums.append([[np.sum(part[first:last] ** 2) for first, last in pairwise(at)] for part in parts])
    return tuple(np.array(sums).swapaxes(0, 1))


def multi_scale_loss(target: np.ndarray, prediction: np.ndarray) -> float:
    """Return DDSP's multi-scale spectral loss: L1 of magnitudes plus L1 of their logarithms, six FFT sizes."""
    total = 0.0
    for size in MULTI_SCALE:
        sums = np.zeros(3)  # of linear and logarithmic differences, and their number
        for _, Y, P in spectra(target, prediction, _all_bins(size, size // 4)):
            y, p = np.abs(Y).astype(np.float64), np.abs(P).astype(np.float64)
            sums += [np.sum(np.abs(y - p)), np.sum(np.abs(np.log(y + 1e-5) - np.log(p + 1e-5))), y.size]
        total += (sums[0] + sums[1]) / sums[2]
    return float(total)


def measure(target: np.ndarray, prediction: np.ndarray, onsets: Sequence[float]) -> dict:
    """Return all measures of a prediction, cut or padded to the target's length; onsets in seconds."""
    target, prediction = np.asarray(target, np.float32), np.asarray(prediction, np.float32)[: len(target)]
    if missing := len(target) - len(prediction):  # a copy of a long sound is large
        prediction = np.pad(prediction, (0, missing))
    attack, sustain = attack_sustain_lsd_db(target, prediction, onsets)
    measures = (correlation, snr_db, bandwidth_hz, bands, multi_scale_loss)
    result = {function.__name__: function(target, prediction) for function in measures}
    return result | {"attack_lsd_db": attack, "sustain_lsd_db": sustain}
