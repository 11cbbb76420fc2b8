"""Losses between normalized spectra as pairs (..., 2): target first, prediction second, one number out.

A user adds one here and its name to config.LOSSES.
"""

from keras import ops


def mse(target, prediction):
    """Return the mean squared error of real and imaginary parts: the seed's loss."""
    return ops.mean(ops.square(target - prediction))


def mae(target, prediction):
    """Return the mean absolute error of real and imaginary parts."""
    return ops.mean(ops.abs(target - prediction))


def magnitude(pairs):
    """Return the magnitude (...) of pairs (..., 2), its gradient finite at 0."""
    return ops.sqrt(ops.sum(ops.square(pairs), axis=-1) + 1e-12)


def complex_magnitude(target, prediction):
    """Return 0.7 MSE + 0.3 MSE of magnitudes: phase errors alone don't make the prediction quieter.

    Source: the power-compressed loss of speech enhancement (Braun and Tashev 2021).
    """
    difference = magnitude(target) - magnitude(prediction)
    return 0.7 * mse(target, prediction) + 0.3 * ops.mean(ops.square(difference)) / 2


LOSSES = {"mse": mse, "mae": mae, "complex_magnitude": complex_magnitude}
