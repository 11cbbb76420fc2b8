"""What frames cost and what they blur: operations, pre-echo, reconstruction, resamplers (notebook 04_oversampling)."""

import numpy as np

from nnss_utils.metrics import energy, ratio_db, snr_db
from nnss_utils.normalization import with_error
from nnss_utils.spectral import SAMPLE_RATE, Spectral, istft, oversample, stft, undersample

BEFORE = 0.05  # s before and after an onset that pre-echo compares
CLOSE = 0.001  # s just before an onset that do not count: a hammer needs them


def frames_a_second(spectral: Spectral) -> float:
    """Return how many frames a second of sound has."""
    return spectral.rate / spectral.frame_step


def stft_operations(spectral: Spectral) -> float:
    """Return the floating-point operations of the STFT of a second of sound: 2.5 N log2 N for each real FFT."""
    return frames_a_second(spectral) * 2.5 * spectral.frame_length * np.log2(spectral.frame_length)


def network_operations(spectral: Spectral, parameters: int) -> float:
    """Return the operations of a network on a second of sound: a product and a sum for each parameter and frame."""
    return frames_a_second(spectral) * 2.0 * parameters


def round_trip(sound: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return a sound (samples,) after oversampling, STFT, inverse STFT and the way back to 44.1 kHz."""
    fast = oversample(sound, spectral.oversampling)
    return undersample(istft(stft(fast, spectral), spectral, len(fast)), spectral.oversampling)[: len(sound)]


def reconstruction_db(sound: np.ndarray, spectral: Spectral) -> float:
    """Return the SNR (dB) of a sound (samples,) that went to its spectrogram and back."""
    return snr_db(sound, round_trip(sound, spectral))


def pre_echo_db(
    sound: np.ndarray, onset: float, spectral: Spectral, power: float = 0.5, error_db: float = -20.0, seed: int = 0
) -> float:
    """Return the energy in the 50 ms before an onset (s), over that of the 50 ms after it, in dB.

    Every bin of the normalized spectrogram is wrong by `error_db` of its own magnitude: an error within a frame
    sounds over the whole frame, before the hammer too. Sound is float (samples,), silent before the onset.
    """
    spoilt = with_error(sound, power, error_db, spectral, seed, relative=True)
    at, width, close = (round(seconds * SAMPLE_RATE) for seconds in (onset, BEFORE, CLOSE))
    return ratio_db(energy(spoilt[max(0, at - width) : at - close]), energy(sound[at : at + width]))


def oversample_linearly(signal: np.ndarray, factor: int) -> np.ndarray:
    """Return a signal (samples,) at `factor` times the rate by linear interpolation, as the method's author did."""
    return np.interp(np.arange(len(signal) * factor) / factor, np.arange(len(signal)), signal).astype(np.float32)


def response_db(resample, frequencies: np.ndarray, factor: int) -> np.ndarray:
    """Return a resampler's (signal, factor) -> signal gain in dB at frequencies (Hz), images left out."""
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    fast = np.arange(len(t) * factor) / (SAMPLE_RATE * factor)
    middle = slice(len(fast) // 4, 3 * len(fast) // 4)
    gains = []
    for f in frequencies:
        made = resample(np.sin(2 * np.pi * f * t).astype(np.float32), factor)[: len(fast)]
        wave = np.exp(-2j * np.pi * f * fast[middle]) * np.hanning(len(fast[middle]))
        gains.append(20 * np.log10(2 * abs(np.sum(made[middle] * wave)) / np.sum(np.abs(wave)) + 1e-12))
    return np.array(gains)


def images_db(resample, sound: np.ndarray, factor: int) -> float:
    """Return the energy above 22.05 kHz that a resampler leaves of a sound (samples,), over the whole, in dB."""
    S = np.abs(np.fft.rfft(resample(sound, factor))) ** 2
    frequencies = np.fft.rfftfreq(2 * (len(S) - 1), 1 / (SAMPLE_RATE * factor))
    return ratio_db(S[frequencies > SAMPLE_RATE / 2].sum(), S.sum())
