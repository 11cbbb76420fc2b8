"""Losses: target first, prediction second, one number out (notebook 07_claims compares them).

Add one of your own to LOSSES or SOUND_LOSSES before you use its name, in a notebook's cell for example:

    from nnss_utils.model.losses import LOSSES
    LOSSES["cubic"] = lambda target, prediction: ops.mean(ops.abs(target - prediction) ** 3)
"""

from collections.abc import Callable

from nnss_utils.model.backend import ops

FFT_SIZES = (2048, 1024, 512, 256, 128, 64)  # samples, DDSP's
LEAST_MAGNITUDE = 1e-5  # added before logarithms


def mse(target, prediction):
    """Return the mean squared error of real and imaginary parts: the author's loss."""
    return ops.mean(ops.square(target - prediction))


def mae(target, prediction):
    """Return the mean absolute error of real and imaginary parts."""
    return ops.mean(ops.abs(target - prediction))


def magnitude(pairs):
    """Return the magnitude (...) of pairs (..., 2), its gradient finite at 0."""
    return ops.sqrt(ops.sum(ops.square(pairs), axis=-1) + 1e-12)


def complex_magnitude(target, prediction):
    """Return 0.7 MSE + 0.3 MSE of magnitudes, so that phase errors don't make the prediction quieter.

    Source: the power-compressed loss of speech enhancement (Braun and Tashev 2021).
    """
    difference = magnitude(target) - magnitude(prediction)
    return 0.7 * mse(target, prediction) + 0.3 * ops.mean(ops.square(difference)) / 2


def multi_scale(target, prediction):
    """Return the multi-scale spectral loss of sounds (examples, samples): L1 of magnitudes plus L1 of logarithms.

    FFT sizes 2048 to 64, 75 % overlap, as in DDSP (Engel et al. 2020); it ignores phase.
    """
    total = 0.0
    for size in FFT_SIZES:
        y, p = (short_time_magnitude(sound, size) for sound in (target, prediction))
        total += ops.mean(ops.abs(y - p))
        total += ops.mean(ops.abs(ops.log(y + LEAST_MAGNITUDE) - ops.log(p + LEAST_MAGNITUDE)))
    return total


def short_time_magnitude(sound, size: int):
    """Return |STFT| (examples, frames, bins) of sounds (examples, samples): Hann windows of `size`, 75 % overlap."""
    real, imaginary = ops.stft(sound, size, size // 4, size, window="hann", center=False)
    return ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-14)


# of normalized spectra, pairs (examples, frames, bins, 2) divided by the output scale
LOSSES: dict[str, Callable] = {"mse": mse, "mae": mae, "complex_magnitude": complex_magnitude}
# of the sounds that the inverse STFT makes of the denormalized spectra, (examples, samples)
SOUND_LOSSES: dict[str, Callable] = {"multi_scale": multi_scale}
