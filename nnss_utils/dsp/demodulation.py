"""Phase demodulation, or heterodyning: each bin without its own carrier (notebook 02_phase_analysis). The STFT counts a
frame's phase from the frame's own start, so bin k turns by 2 pi k frame_step / frame_length from frame to frame.
Multiplied by e^(-2 pi j k n / frame_length), where n is the frame's first sample, it counts from the signal's start
("timeinv" in LTFAT), and every bin is equally smooth."""

from functools import lru_cache

import numpy as np

from nnss_utils.dsp.stft import Spectral, read_only

_FINE = 64  # bins of the finer of a carrier's two factors


@lru_cache(maxsize=8)
def _unit_circle(length: int) -> np.ndarray:
    """Return e^(-2 pi j m / length) for m = 0..length - 1, complex64."""
    return read_only(np.exp(-2j * np.pi * np.arange(length) / length).astype(np.complex64))


def carrier_factors(
    spectral: Spectral, starts: np.ndarray, amplitudes: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return complex64 (frames, coarse) and (frames, fine) whose outer product is `carriers`, bin k = 64 i + l.
    amplitudes: (frames,), a factor of each frame's carriers."""
    n = np.asarray(starts, dtype=np.int64)[:, None] % spectral.frame_length
    circle, fine = _unit_circle(spectral.frame_length), min(_FINE, spectral.bins)
    coarse = circle[n * np.arange(0, spectral.bins, fine) % spectral.frame_length]
    coarse *= np.reshape(np.asarray(amplitudes, np.float32), (-1, 1))
    return coarse, circle[n * np.arange(fine) % spectral.frame_length]


def carriers(spectral: Spectral, starts: np.ndarray) -> np.ndarray:
    """Return e^(-2 pi j k n / frame_length), complex64 (frames, bins), for frames that start at samples n."""
    coarse, fine = carrier_factors(spectral, starts)
    return (coarse[:, :, None] * fine[:, None, :]).reshape(len(coarse), -1)[:, : spectral.bins]


def heterodyne(spectrogram: np.ndarray, spectral: Spectral, start: int = 0) -> np.ndarray:
    """Return a spectrogram (frames, bins) without each bin's own carrier; `start` is the first frame's sample."""
    return spectrogram * carriers(spectral, start + spectral.frame_step * np.arange(len(spectrogram)))


def inverse_heterodyne(spectrogram: np.ndarray, spectral: Spectral, start: int = 0) -> np.ndarray:
    """Return a spectrogram (frames, bins) with each bin's own carrier put back: undoes `heterodyne`."""
    return spectrogram * carriers(spectral, start + spectral.frame_step * np.arange(len(spectrogram))).conj()
