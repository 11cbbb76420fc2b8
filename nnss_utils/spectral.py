"""Short-time Fourier transform, its inverse, heterodyne and oversampling (notebooks 01, 02 and 04).

A frame's phase counts from its own start, as in tf.signal.stft ("freqinv" in LTFAT); `heterodyne` turns it to
count from the signal's start ("timeinv"). The last bin (Nyquist) is dropped, as the seed does: 1024 of 2048.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.linalg
import soxr

from nnss_utils.errors import InputError, check_choice, check_flag, check_number
from nnss_utils.windows import WINDOWS

SAMPLE_RATE = 44100  # Hz


@dataclass(frozen=True)
class Spectral:
    """How a signal becomes a spectrogram: lengths in samples (of the oversampled rate), bins kept from 0 Hz up.

    bins=0 means frame_length / 2 / oversampling, or every bin but the last without oversampling.
    """

    frame_length: int = 2048
    frame_step: int = 256
    window: str = "hann"
    kaiser_beta: float = 8.0
    oversampling: int = 1
    heterodyne: bool = True
    bins: int = 0

    def __post_init__(self) -> None:
        check_number("frame_length", self.frame_length, 16, 65536, integer=True)
        check_number("oversampling", self.oversampling, 1, 16, integer=True)
        check_choice("window", self.window, tuple(WINDOWS))
        check_number("kaiser_beta", self.kaiser_beta, 0, 40)
        check_number("frame_step", self.frame_step, 1, self.frame_length, integer=True)
        check_number("bins", self.bins, 0, self.frame_length // 2 + 1, integer=True)
        check_flag("heterodyne", self.heterodyne)
        if self.frame_length % (2 * self.oversampling):
            raise InputError(
                f"frame_length={self.frame_length} must be a multiple of 2 * oversampling = {2 * self.oversampling}"
            )
        if self.bins == 0:
            object.__setattr__(self, "bins", self.frame_length // 2 // self.oversampling)
        check_invertible(self)

    @property
    def rate(self) -> int:
        """Samples a second that the frames count in, Hz."""
        return SAMPLE_RATE * self.oversampling

    @property
    def scale(self) -> float:
        """Factor that makes a sine of amplitude a measure a in its bin."""
        return float(2 / np.sum(window_samples(self)))

    def frequencies(self) -> np.ndarray:
        """Return the centre of each kept bin in Hz, shape (bins,)."""
        return np.arange(self.bins) * self.rate / self.frame_length


@lru_cache(maxsize=32)
def _window(function: Callable, length: int, beta: float) -> np.ndarray:
    window = np.asarray(function(length, beta), np.float32)
    window.setflags(write=False)
    return window


def window_samples(spectral: Spectral) -> np.ndarray:
    """Return the periodic analysis window, float32, shape (frame_length,)."""
    return _window(WINDOWS[spectral.window], spectral.frame_length, float(spectral.kaiser_beta))


def check_invertible(spectral: Spectral) -> None:
    """Raise `InputError` if frames at this step leave samples that no inverse can recover (scipy's NOLA test)."""
    energy = _overlap_energy(spectral)
    if energy.min() < 1e-4 * energy.max():  # float32 would lose more than 1e-5
        raise InputError(
            f"frame_step={spectral.frame_step} is too large for a {spectral.window} window of {spectral.frame_length}: "
            f"samples between frames are lost; use a step of at most {spectral.frame_length // 2}"
        )


@lru_cache(maxsize=32)
def _overlap_energy(spectral: Spectral) -> np.ndarray:
    """Return sum over frames of window^2 for each sample of one step, float64, shape (frame_step,)."""
    step = spectral.frame_step
    energy = np.zeros(-(-spectral.frame_length // step) * step)
    energy[: spectral.frame_length] = window_samples(spectral).astype(np.float64) ** 2
    return energy.reshape(-1, step).sum(axis=0)


def frame_count(samples: int, spectral: Spectral) -> int:
    """Return how many frames `stft` makes of a signal of so many samples."""
    return -(-(samples + lead(spectral)) // spectral.frame_step)


def lead(spectral: Spectral) -> int:
    """Return by how many samples the first frame starts before the signal, so that all frames that touch it count.

    A multiple of the step and of the oversampling: frames start on samples of the plain rate too.
    """
    unit = math.lcm(spectral.frame_step, spectral.oversampling)
    return -(-(spectral.frame_length - spectral.frame_step) // unit) * unit


def frames_to_spectra(frames: np.ndarray, spectral: Spectral, scale: float = 1.0) -> np.ndarray:
    """Return the spectra complex64 (..., bins) of frames float32 (..., frame_length), windowed, times `scale`."""
    spectra = scipy.fft.rfft(frames * (window_samples(spectral) * np.float32(scale)), axis=-1)
    return spectra[..., : spectral.bins]


def stft(signal: np.ndarray, spectral: Spectral, *, pad: bool = True) -> np.ndarray:
    """Return the complex64 spectrogram (frames, bins) of a float signal (samples,).

    With `pad`, frames start `lead` samples before the signal and cover every sample equally, so that `istft`
    gives it back whole. Without, frames start at 0 and lie inside the signal: tf.signal.stft's own.
    """
    signal = np.asarray(signal, dtype=np.float32)
    length, step = spectral.frame_length, spectral.frame_step
    if pad:
        after = (frame_count(len(signal), spectral) - 1) * step + length - lead(spectral) - len(signal)
        signal = np.pad(signal, (lead(spectral), max(0, after)))
    elif len(signal) < length:
        return np.zeros((0, spectral.bins), np.complex64)
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::step]
    return frames_to_spectra(frames, spectral)


def istft(spectrogram: np.ndarray, spectral: Spectral, samples: int) -> np.ndarray:
    """Return the float32 signal (samples,) of a complex spectrogram (frames, bins) made by `stft` with pad.

    Weighted overlap-add: the least-squares signal (Griffin and Lim 1984, eq. 6). A dropped Nyquist
    bin is first recovered from the overlap of the frames. Where frames don't overlap, or with the rectangular
    window, an alternating signal (-1)^n shows in no other bin and is lost: keep all bins there (bins=N/2+1).
    """
    if spectral.bins == spectral.frame_length // 2 and spectral.window != "rectangular":
        spectrogram = _with_nyquist(spectrogram, spectral)
    frames = scipy.fft.irfft(spectrogram, n=spectral.frame_length, axis=-1)
    return overlap_add(frames, spectral)[lead(spectral) :][:samples]


def overlap_add(frames: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the least-squares signal of frames (count, frame_length), from the first frame's start on."""
    length, step = spectral.frame_length, spectral.frame_step
    blocks = -(-length // step)
    windowed = np.zeros((len(frames), blocks * step), np.float32)
    windowed[:, :length] = frames * window_samples(spectral)
    signal = np.zeros((len(frames) + blocks - 1, step), np.float64)  # up to thousands of frames add up
    if len(frames) < blocks:  # a long frame at a short step: fewer frames than blocks
        for number, frame in enumerate(windowed):
            signal[number : number + blocks] += frame.reshape(blocks, step)
    else:
        for block in range(blocks):
            signal[block : block + len(frames)] += windowed[:, block * step : (block + 1) * step]
    return (signal / _overlap_energy(spectral)).astype(np.float32).ravel()


def _with_nyquist(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the spectrogram with its dropped last bin, solved from the frames' overlap.

    A signal's Nyquist bins c equal those of its own resynthesis: c = b + A c, where b comes from the bins
    kept and A, banded and positive, says how one frame's Nyquist term is seen by the frames beside it.
    """
    length, step, count = spectral.frame_length, spectral.frame_step, len(spectrogram)
    window = window_samples(spectral).astype(np.float64)
    signs = 1.0 - 2.0 * (np.arange(length) % 2)
    frames = scipy.fft.irfft(spectrogram, n=length, axis=-1)
    signal = overlap_add(frames, spectral).astype(np.float64)
    seen = np.lib.stride_tricks.sliding_window_view(signal, length)[::step][:count]
    b = seen @ (window * signs)
    energy = np.resize(_overlap_energy(spectral), length)
    bands = np.zeros((min(count, -(-length // step)), count))
    for k in range(len(bands)):
        shift = k * step
        value = np.sum(window[shift:] * window[: length - shift] / energy[shift:]) / length
        bands[k] = -value * (1 if shift % 2 == 0 else -1)
    bands[0] += 1
    if bands[0, 0] < 1e-6:  # no frame overlaps another
        return spectrogram
    nyquist = scipy.linalg.solveh_banded(bands, b, lower=True)
    return np.concatenate([spectrogram, nyquist[:, None].astype(spectrogram.dtype)], axis=1)


_FINE = 64  # bins of the finer of a carrier's two factors


@lru_cache(maxsize=8)
def _turn(length: int) -> np.ndarray:
    """Return e^(-2 pi j m / length) for m = 0..length - 1, complex64."""
    turn = np.exp(-2j * np.pi * np.arange(length) / length).astype(np.complex64)
    turn.setflags(write=False)
    return turn


def carrier_factors(
    spectral: Spectral, starts: np.ndarray, amplitudes: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return complex64 (frames, coarse) and (frames, fine) whose outer product is `carriers`: k = 64 i + l."""
    n = np.asarray(starts, dtype=np.int64)[:, None] % spectral.frame_length
    turn, fine = _turn(spectral.frame_length), min(_FINE, spectral.bins)
    coarse = turn[n * np.arange(0, spectral.bins, fine) % spectral.frame_length]
    coarse *= np.reshape(np.asarray(amplitudes, np.float32), (-1, 1))
    return coarse, turn[n * np.arange(fine) % spectral.frame_length]


def carriers(spectral: Spectral, starts: np.ndarray) -> np.ndarray:
    """Return e^(-2 pi j k n / frame_length), complex64 (frames, bins), for frames that start at samples n."""
    coarse, fine = carrier_factors(spectral, starts)
    return (coarse[:, :, None] * fine[:, None, :]).reshape(len(coarse), -1)[:, : spectral.bins]


def heterodyne(spectrogram: np.ndarray, spectral: Spectral, start: int = 0) -> np.ndarray:
    """Return a spectrogram (frames, bins) without each bin's own carrier; `start` is the first frame's sample."""
    starts = start + spectral.frame_step * np.arange(len(spectrogram))
    return spectrogram * carriers(spectral, starts)


def inverse_heterodyne(spectrogram: np.ndarray, spectral: Spectral, start: int = 0) -> np.ndarray:
    """Return a spectrogram (frames, bins) with each bin's own carrier put back: undoes `heterodyne`."""
    starts = start + spectral.frame_step * np.arange(len(spectrogram))
    return spectrogram * carriers(spectral, starts).conj()


def oversample(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples, ...) at `factor` times the rate, by soxr's very high quality resampler."""
    return signal if factor == 1 else soxr.resample(signal, SAMPLE_RATE, SAMPLE_RATE * factor, quality="VHQ")


def undersample(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples, ...) at 1/`factor` of the rate: undoes `oversample`."""
    return signal if factor == 1 else soxr.resample(signal, SAMPLE_RATE * factor, SAMPLE_RATE, quality="VHQ")
