"""STFT trade-offs: cost, pre-echo, reconstruction, resamplers, errors of a normalized spectrum (notebooks 03, 04)."""

from collections.abc import Callable

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.normalization import denormalize, normalize
from nnss_utils.dsp.stft import Spectral, istft, oversample, stft, undersample
from nnss_utils.errors import check_number
from nnss_utils.evaluation.metrics import energy, ratio_db, snr_db

AROUND = 0.05  # s before and after an onset that pre-echo compares
CLOSE = 0.001  # s just before an onset that do not count: a hammer needs them

Resample = Callable[[np.ndarray, int], np.ndarray]  # (signal, factor) -> signal


def with_error(
    sound: np.ndarray, power: float | str, error_db: float, spectral: Spectral, seed: int = 0, *, relative: bool = False
) -> np.ndarray:
    """Return a sound, float32 (samples,), after its normalized spectrogram got a fixed error. The error is complex
    Gaussian noise, `error_db` above the root mean square of the normalized spectrogram: what training by mean squared
    error to that loss would leave. relative: above each bin's own magnitude instead."""
    check_number("error_db", error_db, -300, 60)
    rng = np.random.default_rng(seed)
    Y = normalize(stft(sound, spectral, scaled=True), power)
    size = np.abs(Y) if relative else np.float32(np.sqrt(np.mean(np.abs(Y) ** 2)))
    noise = rng.standard_normal((*Y.shape, 2), np.float32).view(np.complex64)[..., 0]
    Y += noise * (size * np.float32(10 ** (error_db / 20) / np.sqrt(2)))
    return istft(denormalize(Y, power).astype(np.complex64), spectral, len(sound), scaled=True)


def frames_per_second(spectral: Spectral) -> float:
    """Return the number of frames of a second of sound."""
    return spectral.rate / spectral.frame_step


def stft_operations(spectral: Spectral) -> float:
    """Return the floating-point operations of the STFT of a second of sound: 2.5 N log2 N for each real FFT."""
    return frames_per_second(spectral) * 2.5 * spectral.frame_length * np.log2(spectral.frame_length)


def reconstruction_db(sound: np.ndarray, spectral: Spectral) -> float:
    """Return the SNR (dB) of a sound (samples,) after oversampling, STFT, inverse STFT and resampling to 44.1 kHz."""
    fast = oversample(sound, spectral.oversampling)
    again = undersample(istft(stft(fast, spectral), spectral, len(fast)), spectral.oversampling)
    return snr_db(sound, again[: len(sound)])


def pre_echo_db(
    sound: np.ndarray, onset: float, spectral: Spectral, power: float = 0.5, error_db: float = -20.0, seed: int = 0
) -> float:
    """Return the energy in the 50 ms before an onset (s) over that in the 50 ms after it, in dB. Every bin of the
    normalized spectrogram gets an error `error_db` above its magnitude, which sounds over the whole frame, also before
    the hammer. The sound, float (samples,), is silent before the onset."""
    wrong = with_error(sound, power, error_db, spectral, seed, relative=True)
    at, width, close = (round(seconds * SAMPLE_RATE) for seconds in (onset, AROUND, CLOSE))
    return ratio_db(energy(wrong[max(0, at - width) : at - close]), energy(sound[at : at + width]))


def oversample_linearly(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples,) at `factor` times the rate by linear interpolation, as the method's author did."""
    return np.interp(np.arange(len(signal) * factor) / factor, np.arange(len(signal)), signal).astype(np.float32)


def response_db(resample: Resample, frequencies: np.ndarray, factor: int) -> np.ndarray:
    """Return a resampler's gain in dB at frequencies (Hz), without images."""
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    size = len(t) * factor
    fast, window = np.arange(size)[size // 4 : 3 * size // 4] / (SAMPLE_RATE * factor), np.hanning(size // 2)
    gains = []
    for f in frequencies:
        made = resample(np.sin(2 * np.pi * f * t).astype(np.float32), factor)[size // 4 : 3 * size // 4]
        wave = np.exp(-2j * np.pi * f * fast) * window
        gains.append(20 * np.log10(2 * abs(np.sum(made * wave)) / np.sum(np.abs(wave)) + 1e-12))
    return np.array(gains)


def images_db(resample: Resample, sound: np.ndarray, factor: int) -> float:
    """Return the energy above 22.05 kHz after resampling a sound (samples,), over the whole, in dB."""
    S = np.abs(np.fft.rfft(resample(sound, factor))) ** 2
    frequencies = np.fft.rfftfreq(2 * (len(S) - 1), 1 / (SAMPLE_RATE * factor))
    return ratio_db(S[frequencies > SAMPLE_RATE / 2].sum(), S.sum())
