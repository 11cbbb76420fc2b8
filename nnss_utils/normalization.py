"""Power normalization of complex spectrograms: |S|^p e^(j angle S), and back (notebook 03_normalization_comparison).

Complex numbers are NumPy's complex arrays, or any Keras backend's tensors as real pairs (..., 2), since Keras'
operations have no complex type: the same formulas stand side by side.
"""

import numpy as np
from keras import ops

from nnss_utils.errors import check_number

POWER_RANGE = (1 / 64, 1.0)
FLOOR = 1e-8  # magnitude (-160 dB) below which a bin counts as silent: keeps powers and gradients finite


def check_power(power: float) -> None:
    """Raise `InputError` unless `power` can normalize (1/64 to 1)."""
    check_number("power", power, *POWER_RANGE)


def normalize(spectrogram: np.ndarray, power: float) -> np.ndarray:
    """Return |S|^p e^(j angle S) of a complex array of any shape; 0 stays 0. Source: the seed, p = 1/8."""
    check_power(power)
    magnitude = np.abs(spectrogram)
    return spectrogram * np.maximum(magnitude, FLOOR) ** (power - 1)


def denormalize(normalized: np.ndarray, power: float) -> np.ndarray:
    """Return the complex array that `normalize` made `normalized` from; magnitudes below FLOOR are lost."""
    check_power(power)
    magnitude = np.abs(normalized)
    return normalized * np.maximum(magnitude, FLOOR**power) ** (1 / power - 1)


def _scale_pairs(pairs, exponent: float, floor: float):
    """Return pairs (..., 2) times max(magnitude, floor)^exponent, finite with its gradient."""
    energy = ops.sum(ops.square(pairs), axis=-1, keepdims=True)
    return pairs * ops.power(ops.maximum(energy, floor**2), exponent / 2)


def normalize_pairs(pairs, power: float, floor: float = FLOOR):
    """Do what `normalize` does on a tensor of pairs (..., 2): real, imaginary."""
    return pairs if power == 1 else _scale_pairs(pairs, power - 1, floor)


def denormalize_pairs(pairs, power: float):
    """Do what `denormalize` does on a tensor of pairs (..., 2): real, imaginary."""
    return pairs if power == 1 else _scale_pairs(pairs, 1 / power - 1, FLOOR**power)
