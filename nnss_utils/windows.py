"""Analysis windows: plain functions (frame_length, beta) -> samples, periodic (notebook 04_oversampling compares them).

A user adds one in a line, before it is named: `WINDOWS["sine"] = lambda length, beta: ...`.
"""

import numpy as np
from scipy.signal import windows


def hann(length: int, beta: float) -> np.ndarray:
    """Return the Hann window, float64 (length,): the seed's, side lobes fall by 18 dB an octave."""
    return windows.hann(length, sym=False)


def kaiser(length: int, beta: float) -> np.ndarray:
    """Return the Kaiser window, float64 (length,): `beta` trades the main lobe's width for quiet side lobes."""
    return windows.kaiser(length, beta, sym=False)


def hamming(length: int, beta: float) -> np.ndarray:
    """Return the Hamming window, float64 (length,): never zero, first side lobes quiet, far ones not."""
    return windows.hamming(length, sym=False)


def blackman(length: int, beta: float) -> np.ndarray:
    """Return the Blackman window, float64 (length,): a wide main lobe, very quiet side lobes."""
    return windows.blackman(length, sym=False)


def rectangular(length: int, beta: float) -> np.ndarray:
    """Return ones, float64 (length,): no window at all."""
    return windows.boxcar(length, sym=False)


WINDOWS = {"hann": hann, "kaiser": kaiser, "hamming": hamming, "blackman": blackman, "rectangular": rectangular}
