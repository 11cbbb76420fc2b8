"""Losses: target first, prediction second, one number out (notebook 07_claims compares them).

To add yours, write before you use its name, in a notebook's cell for example:

    LOSSES["cubic"] = lambda target, prediction: ops.mean(ops.abs(target - prediction) ** 3)
"""

from collections.abc import Callable

from nnss_utils.model.backend import ops
from nnss_utils.model.pairs import magnitude

FFT_SIZES = (2048, 1024, 512, 256, 128, 64)  # samples, DDSP's
LEAST_MAGNITUDE = 1e-5  # added before logarithms


def mse(target, prediction):
    """Return the mean squared error of real and imaginary parts: the author's loss."""
    return ops.mean(ops.square(target - prediction))


def mae(target, prediction):
    """Return the mean absolute error of real and imaginary parts."""
    return ops.mean(ops.abs(target - prediction))


def complex_magnitude(target, prediction):
    """Return 0.7 MSE + 0.3 MSE of magnitudes: phase errors make the prediction less quiet (Braun and Tashev 2021)."""
    difference = magnitude(target) - magnitude(prediction)
    return 0.7 * mse(target, prediction) + 0.3 * ops.mean(ops.square(difference)) / 2


def multi_scale(target, prediction):
    """Return the multi-scale spectral loss of sounds (examples, samples), which ignores phase (Engel et al. 2020). L1
    of STFT magnitudes plus L1 of their logarithms; Hann windows of FFT_SIZES with 75 % overlap."""
    total = 0.0
    for size in FFT_SIZES:
        spectra = (ops.stft(sound, size, size // 4, size, "hann", center=False) for sound in (target, prediction))
        y, p = (ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-14) for real, imaginary in spectra)
        total += ops.mean(ops.abs(y - p))
        total += ops.mean(ops.abs(ops.log(y + LEAST_MAGNITUDE) - ops.log(p + LEAST_MAGNITUDE)))
    return total


# of normalized spectra, pairs (examples, frames, bins, 2) divided by the output scale
LOSSES: dict[str, Callable] = {"mse": mse, "mae": mae, "complex_magnitude": complex_magnitude}
# of the sounds that the inverse STFT makes of the denormalized spectra, (examples, samples)
SOUND_LOSSES: dict[str, Callable] = {"multi_scale": multi_scale}
