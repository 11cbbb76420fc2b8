"""Power normalization of complex spectrograms: |S|^p e^(j angle S), and back (notebook 03_normalization_comparison). A
power p is a number from 1/64 to 1, or "log", the logarithm that powers tend to. model/pairs.py has the same formulas
for the networks' tensors."""

import math

import numpy as np

from nnss_utils.errors import InputError, check_number

POWER_RANGE = (1 / 64, 1.0)
LOGARITHM = "log"
FLOOR = 1e-8  # magnitude (-160 dB) below which a bin counts as silent: keeps powers and gradients finite
LOG_FLOOR = 1e-5  # magnitude (-100 dB) below which the logarithm becomes a straight line through 0
LOG_RANGE = math.log1p(1 / LOG_FLOOR)  # so that magnitude 1 is 1, as with powers
LOUDEST = 1e5  # magnitude (100 dB above full scale) above which denormalizing no longer multiplies errors
LOG_LOUDEST = 2.0  # the same limit for a normalized logarithm


def check_power(power: float | str) -> None:
    """Raise `InputError` unless `power` can normalize (1/64 to 1, or "log")."""
    if isinstance(power, str):
        if power != LOGARITHM:
            raise InputError(f'power={power!r} is str; give a number from 1/64 to 1, or "{LOGARITHM}"')
        return
    check_number("power", power, *POWER_RANGE)


def normalize(spectrogram: np.ndarray, power: float | str) -> np.ndarray:
    """Return |S|^p e^(j angle S) of a complex array of any shape; 0 stays 0. Source: the author, p = 1/8. With "log":
    log(1 + |S| / LOG_FLOOR) / log(1 + 1 / LOG_FLOOR) e^(j angle S)."""
    check_power(power)
    magnitude = np.abs(spectrogram)
    if power == LOGARITHM:
        magnitude = np.maximum(magnitude, 1e-12)
        return spectrogram * (np.log1p(magnitude / LOG_FLOOR) / LOG_RANGE / magnitude)
    return spectrogram * np.maximum(magnitude, FLOOR) ** (power - 1)


def denormalize(normalized: np.ndarray, power: float | str) -> np.ndarray:
    """Return the complex array that `normalize` turned into `normalized`; finite for any finite input. Magnitudes below
    FLOOR become silent; those above LOUDEST, where low powers would overflow, are lowered."""
    check_power(power)
    magnitude = np.abs(normalized)
    if power == LOGARITHM:
        magnitude = np.maximum(magnitude, 1e-12)
        return normalized * (LOG_FLOOR * np.expm1(LOG_RANGE * np.minimum(magnitude, LOG_LOUDEST)) / magnitude)
    return normalized * np.clip(magnitude, FLOOR**power, LOUDEST**power) ** (1 / power - 1)
