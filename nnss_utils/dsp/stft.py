"""Short-time Fourier transform, its inverse, windows and oversampling (notebooks 01, 02 and 04). A frame's phase counts
from the frame's own start, as in tf.signal.stft ("freqinv" in LTFAT); demodulation.py turns it. The last bin (Nyquist)
is dropped, as the author does: 1024 bins of a frame of 2048."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.linalg
import soxr
from scipy.signal import windows

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, check_choice, check_flag, check_number

# name -> (frame_length, kaiser_beta) -> periodic window (frame_length,); add yours before you use its name
WINDOWS: dict[str, Callable[[int, float], np.ndarray]] = {
    "hann": lambda length, beta: windows.hann(length, sym=False),  # the author's; side lobes fall by 18 dB an octave
    "kaiser": lambda length, beta: windows.kaiser(length, beta, sym=False),  # beta: main lobe against side lobes
    "hamming": lambda length, beta: windows.hamming(length, sym=False),  # never zero; far side lobes stay high
    "blackman": lambda length, beta: windows.blackman(length, sym=False),  # wide main lobe, very low side lobes
    "rectangular": lambda length, beta: windows.boxcar(length, sym=False),  # no window
}


@dataclass(frozen=True)
class Spectral:
    """Parameters of the STFT: lengths in samples of the oversampled rate, `bins` from 0 Hz up. bins=0 means
    frame_length / 2 / oversampling: without oversampling every bin but the last. Raises `InputError` for a parameter of
    the wrong type or out of range."""

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
            least = 2 * self.oversampling
            raise InputError(f"frame_length={self.frame_length} must be a multiple of 2 * oversampling = {least}")
        if self.bins == 0:
            object.__setattr__(self, "bins", self.frame_length // 2 // self.oversampling)
        check_invertible(self)

    @property
    def rate(self) -> int:
        """Sampling rate (Hz) in whose samples frame_length and frame_step count."""
        return SAMPLE_RATE * self.oversampling

    @property
    def scale(self) -> float:
        """Factor that gives a sine of amplitude a the magnitude a in its bin."""
        return float(2 / np.sum(window_samples(self)))

    def frequencies(self) -> np.ndarray:
        """Return the centre of each kept bin in Hz, shape (bins,)."""
        return np.arange(self.bins) * self.rate / self.frame_length


def read_only(array: np.ndarray) -> np.ndarray:
    """Return the same array, protected against changes, because a cache shares it."""
    array.setflags(write=False)
    return array


@lru_cache(maxsize=32)
def _window(function: Callable, length: int, beta: float) -> np.ndarray:
    return read_only(np.asarray(function(length, beta), np.float32))


def window_samples(spectral: Spectral) -> np.ndarray:
    """Return the periodic analysis window, float32, shape (frame_length,)."""
    return _window(WINDOWS[spectral.window], spectral.frame_length, float(spectral.kaiser_beta))


def check_invertible(spectral: Spectral) -> None:
    """Raise `InputError` if the step is so long that samples between frames are lost (scipy's NOLA test)."""
    energy = overlap_energy(spectral)
    if energy.min() < 1e-4 * energy.max():  # float32 would lose more than 1e-5
        raise InputError(
            f"frame_step={spectral.frame_step} is too large for a {spectral.window} window of {spectral.frame_length}: "
            f"samples between frames are lost; use a step of at most {spectral.frame_length // 2}"
        )


@lru_cache(maxsize=32)
def overlap_energy(spectral: Spectral) -> np.ndarray:
    """Return sum over frames of window^2 for each sample of one step, float64, shape (frame_step,)."""
    step = spectral.frame_step
    energy = np.zeros(-(-spectral.frame_length // step) * step)
    energy[: spectral.frame_length] = window_samples(spectral).astype(np.float64) ** 2
    return energy.reshape(-1, step).sum(axis=0)


def padding(spectral: Spectral) -> int:
    """Return by how many samples the first frame starts before the signal, so that frames cover all of it equally. A
    multiple of the step and of the oversampling: frames start on samples of the plain rate too."""
    unit = math.lcm(spectral.frame_step, spectral.oversampling)
    return -(-(spectral.frame_length - spectral.frame_step) // unit) * unit


def frame_count(samples: int, spectral: Spectral) -> int:
    """Return the number of frames that `stft` makes of a signal of `samples` samples."""
    return -(-(samples + padding(spectral)) // spectral.frame_step)


def samples_of_frames(frames: int, spectral: Spectral) -> int:
    """Return the number of samples (of the oversampled rate) that `frames` frames in a row cover."""
    return spectral.frame_length + (frames - 1) * spectral.frame_step


def stft(signal: np.ndarray, spectral: Spectral, *, pad: bool = True, scaled: bool = False) -> np.ndarray:
    """Return the complex64 spectrogram (..., frames, bins) of a float signal (..., samples). With `pad`, frames start
    `padding` samples before the signal and cover every sample equally, so that `istft` gives it back whole. Without,
    frames start at 0 and lie inside the signal, as in tf.signal.stft. scaled: times `spectral.scale`."""
    signal = np.asarray(signal, dtype=np.float32)
    length, step, samples = spectral.frame_length, spectral.frame_step, signal.shape[-1]
    if pad:
        before = padding(spectral)
        after = samples_of_frames(frame_count(samples, spectral), spectral) - before - samples
        signal = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(before, max(0, after))])
    elif samples < length:
        return np.zeros((*signal.shape[:-1], 0, spectral.bins), np.complex64)
    frames = np.lib.stride_tricks.sliding_window_view(signal, length, axis=-1)[..., ::step, :]
    window = window_samples(spectral) * np.float32(spectral.scale if scaled else 1)
    return scipy.fft.rfft(frames * window, axis=-1)[..., : spectral.bins]


def istft(
    spectrogram: np.ndarray, spectral: Spectral, samples: int | None = None, *, pad: bool = True, scaled: bool = False
) -> np.ndarray:
    """Return the float32 signal (samples,) of a complex spectrogram (frames, bins) that `stft` made.

    Weighted overlap-add: the least-squares signal (Griffin and Lim 1984, eq. 6). `pad` and `scaled` as in `stft`.
    With `pad`, a dropped Nyquist bin is first recovered from the overlap of the frames; where frames don't overlap,
    or with the rectangular window, an alternating signal (-1)^n shows in no other bin and is lost: keep all bins
    there (bins = N / 2 + 1). Without `pad`, the signal begins with the first frame and the Nyquist bin is 0."""
    if pad and spectral.bins == spectral.frame_length // 2 and spectral.window != "rectangular":
        spectrogram = _with_nyquist(spectrogram, spectral)
    frames = scipy.fft.irfft(spectrogram, n=spectral.frame_length, axis=-1)
    if scaled:
        frames *= np.float32(1 / spectral.scale)
    signal = overlap_add(frames, spectral)
    return signal[padding(spectral) if pad else 0 :][:samples]


def overlap_add(frames: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the least-squares signal, float32 (samples,), of frames (count, frame_length), from the first frame on."""
    length, step = spectral.frame_length, spectral.frame_step
    blocks = -(-length // step)
    windowed = np.zeros((len(frames), blocks * step), np.float32)
    windowed[:, :length] = frames * window_samples(spectral)
    signal = np.zeros((len(frames) + blocks - 1, step), np.float64)  # sums of up to thousands of frames
    parts = windowed.reshape(len(frames), blocks, step).swapaxes(0, 1)
    for number, part in enumerate(parts if blocks <= len(frames) else parts.swapaxes(0, 1)):  # the fewer additions
        signal[number : number + len(part)] += part
    return (signal / overlap_energy(spectral)).astype(np.float32).ravel()


def _with_nyquist(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the spectrogram with its dropped last bin, solved from the frames' overlap. A signal's Nyquist bins c
    equal those of its own resynthesis: c = b + A c, where b comes from the kept bins and A, banded and positive, says
    how the other frames see one frame's Nyquist term."""
    length, step, count = spectral.frame_length, spectral.frame_step, len(spectrogram)
    window = window_samples(spectral).astype(np.float64)
    signs = 1.0 - 2.0 * (np.arange(length) % 2)
    frames = scipy.fft.irfft(spectrogram, n=length, axis=-1)
    signal = overlap_add(frames, spectral).astype(np.float64)
    seen = np.lib.stride_tricks.sliding_window_view(signal, length)[::step][:count]
    b = seen @ (window * signs)
    energy = np.resize(overlap_energy(spectral), length)
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


def third_octave_edges(low: float = 100.0, high: float = 20_000.0) -> np.ndarray:
    """Return the edges in Hz of third-octave bands from `low` up; the last edge is `high`."""
    edges = low * 2 ** (np.arange(math.ceil(3 * math.log2(high / low)) + 1) / 3)
    return np.append(edges[edges < high], high)


def oversample(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples, ...) at `factor` times the rate, by soxr's very high quality resampler."""
    return signal if factor == 1 else soxr.resample(signal, SAMPLE_RATE, SAMPLE_RATE * factor, quality="VHQ")


def undersample(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples, ...) at 1/`factor` of the rate: undoes `oversample`."""
    return signal if factor == 1 else soxr.resample(signal, SAMPLE_RATE * factor, SAMPLE_RATE, quality="VHQ")
