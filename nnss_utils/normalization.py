"""Normalization of complex spectrograms: |S|^p e^(j angle S), and back (notebook 03_normalization_comparison).

A power p is a number from 1/64 to 1, or "log", the logarithm that powers tend to. Complex numbers are NumPy's
complex arrays, or any Keras backend's tensors as real pairs (..., 2), since Keras' operations have no complex type:
the same formulas stand side by side.
"""

import math

import numpy as np
from keras import ops

from nnss_utils.errors import InputError, check_number
from nnss_utils.spectral import Spectral, istft, stft

POWER_RANGE = (1 / 64, 1.0)
LOGARITHM = "log"
FLOOR = 1e-8  # magnitude (-160 dB) below which a bin counts as silent: keeps powers and gradients finite
LOG_FLOOR = 1e-5  # magnitude (-100 dB) around which the logarithm bends to the straight line through 0
LOG_RANGE = math.log1p(1 / LOG_FLOOR)  # so that magnitude 1 is 1, as with powers
LOUDEST = 1e5  # magnitude, 100 dB above full scale, from which on a network's errors grow no faster than themselves
LOG_LOUDEST = 2.0  # the same, normalized by the logarithm


def check_power(power: float | str) -> None:
    """Raise `InputError` unless `power` can normalize (1/64 to 1, or "log")."""
    if isinstance(power, str):
        if power != LOGARITHM:
            raise InputError(f'power={power!r} is str; give a number from 1/64 to 1, or "{LOGARITHM}"')
        return
    check_number("power", power, *POWER_RANGE)


def normalize(spectrogram: np.ndarray, power: float | str) -> np.ndarray:
    """Return |S|^p e^(j angle S) of a complex array of any shape; 0 stays 0. Source: the seed, p = 1/8.

    With "log", log(1 + |S| / LOG_FLOOR) / log(1 + 1 / LOG_FLOOR) e^(j angle S).
    """
    check_power(power)
    magnitude = np.abs(spectrogram)
    if power == LOGARITHM:
        magnitude = np.maximum(magnitude, 1e-12)
        return spectrogram * (np.log1p(magnitude / LOG_FLOOR) / LOG_RANGE / magnitude)
    return spectrogram * np.maximum(magnitude, FLOOR) ** (power - 1)


def denormalize(normalized: np.ndarray, power: float | str) -> np.ndarray:
    """Return the complex array that `normalize` made `normalized` from, finite whatever a network says.

    Magnitudes below FLOOR are lost, those above LOUDEST, where low powers would overflow, are lowered.
    """
    check_power(power)
    magnitude = np.abs(normalized)
    if power == LOGARITHM:
        magnitude = np.maximum(magnitude, 1e-12)
        return normalized * (LOG_FLOOR * np.expm1(LOG_RANGE * np.minimum(magnitude, LOG_LOUDEST)) / magnitude)
    return normalized * np.clip(magnitude, FLOOR**power, LOUDEST**power) ** (1 / power - 1)


def _scale_pairs(pairs, exponent: float, floor: float, loudest: float):
    """Return pairs (..., 2) times magnitude^exponent, that kept within floor..loudest: finite with its gradient."""
    energy = ops.clip(ops.sum(ops.square(pairs), axis=-1, keepdims=True), floor**2, loudest**2)
    return pairs * ops.exp(ops.log(energy) * (exponent / 2))  # half of a power's own time


def _magnitude(pairs):
    """Return the magnitude (..., 1) of pairs (..., 2), never quite 0, finite with its gradient."""
    return ops.sqrt(ops.sum(ops.square(pairs), axis=-1, keepdims=True) + 1e-24)


def normalize_pairs(pairs, power: float | str, floor: float = FLOOR):
    """Do what `normalize` does on a tensor of pairs (..., 2): real, imaginary."""
    if power == LOGARITHM:
        magnitude = _magnitude(pairs)
        return pairs * (ops.log1p(magnitude / LOG_FLOOR) / LOG_RANGE / magnitude)
    return pairs if power == 1 else _scale_pairs(pairs, power - 1, floor, LOUDEST)


def denormalize_pairs(pairs, power: float | str):
    """Do what `denormalize` does on a tensor of pairs (..., 2): real, imaginary."""
    if power == LOGARITHM:
        magnitude = _magnitude(pairs)
        return pairs * (LOG_FLOOR * ops.expm1(LOG_RANGE * ops.minimum(magnitude, LOG_LOUDEST)) / magnitude)
    return pairs if power == 1 else _scale_pairs(pairs, 1 / power - 1, FLOOR**power, LOUDEST**power)


def with_error(
    sound: np.ndarray,
    power: float | str,
    error_db: float,
    spectral: Spectral,
    seed: int = 0,
    *,
    relative: bool = False,
) -> np.ndarray:
    """Return what a sound (samples,) becomes if its normalized spectrogram is wrong by a fixed error.

    The error is complex Gaussian noise, `error_db` over the normalized spectrogram's own root mean square: what a
    network trained by mean squared error to that loss would leave; `relative`: over each bin's own magnitude.
    The result is float32 (samples,), peaks above 1 included.
    """
    check_number("error_db", error_db, -300, 60)
    rng = np.random.default_rng(seed)
    Y = normalize(stft(sound, spectral) * np.float32(spectral.scale), power)
    size = np.abs(Y) if relative else np.float32(np.sqrt(np.mean(np.abs(Y) ** 2)))
    noise = rng.standard_normal((*Y.shape, 2), np.float32).view(np.complex64)[..., 0]
    Y += noise * (size * np.float32(10 ** (error_db / 20) / np.sqrt(2)))
    return istft((denormalize(Y, power) / spectral.scale).astype(np.complex64), spectral, len(sound))
