"""Complex spectra as real pairs (..., 2) on Keras' backends, whose operations have no complex type. Each function is
the counterpart of a NumPy one in dsp: normalization.normalize, .denormalize and stft.istft."""

import numpy as np

from nnss_utils.dsp.normalization import FLOOR, LOG_FLOOR, LOG_LOUDEST, LOG_RANGE, LOGARITHM, LOUDEST
from nnss_utils.dsp.stft import Spectral, overlap_energy, samples_of_frames, window_samples
from nnss_utils.model.backend import ops


def as_pairs(spectra: np.ndarray) -> np.ndarray:
    """Return complex64 (...) as float32 (..., 2), without a copy where possible."""
    return np.ascontiguousarray(spectra, np.complex64).view(np.float32).reshape(*spectra.shape, 2)


def as_complex(pairs: np.ndarray) -> np.ndarray:
    """Return float32 (..., 2) as complex64 (...): undoes `as_pairs`."""
    return np.ascontiguousarray(ops.convert_to_numpy(pairs), np.float32).view(np.complex64)[..., 0]


def _multiply_by_power(pairs, exponent: float, floor: float, loudest: float):
    """Return pairs times magnitude^exponent; limits of floor..loudest keep the magnitude and its gradient finite."""
    energy = ops.clip(ops.sum(ops.square(pairs), axis=-1, keepdims=True), floor**2, loudest**2)
    if exponent == 1:
        return pairs * ops.sqrt(energy)
    if exponent == -0.5:
        return pairs * ops.rsqrt(ops.sqrt(energy))
    return pairs * ops.exp(ops.log(energy) * (exponent / 2))  # twice as fast as a power


def magnitude(pairs, least: float = 1e-12):
    """Return the magnitude (...) of pairs (..., 2); `least`, added to its square, keeps the gradient finite at 0."""
    return ops.sqrt(ops.sum(ops.square(pairs), axis=-1) + least)


def normalize_pairs(pairs, power: float | str, floor: float = FLOOR):
    """Return |S|^p e^(j angle S) of pairs (..., 2), as normalization.normalize."""
    if power == LOGARITHM:
        size = magnitude(pairs, 1e-24)[..., None]
        return pairs * (ops.log1p(size / LOG_FLOOR) / LOG_RANGE / size)
    return pairs if power == 1 else _multiply_by_power(pairs, power - 1, floor, LOUDEST)


def denormalize_pairs(pairs, power: float | str):
    """Return the pairs (..., 2) that `normalize_pairs` normalized, as normalization.denormalize."""
    if power == LOGARITHM:
        size = magnitude(pairs, 1e-24)[..., None]
        return pairs * (LOG_FLOOR * ops.expm1(LOG_RANGE * ops.minimum(size, LOG_LOUDEST)) / size)
    return pairs if power == 1 else _multiply_by_power(pairs, 1 / power - 1, FLOOR**power, LOUDEST**power)


def complex_product(a, b):
    """Return the complex product of two tensors of pairs (..., 2)."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return ops.stack([real, imaginary], axis=-1)


def outer_product(coarse, fine, bins: int):
    """Return spectra as pairs (..., bins, 2) from their factors (..., impulses, n, 2), added over the impulses."""
    (a, b), (c, d) = ((factor[..., 0], factor[..., 1]) for factor in (coarse, fine))
    a, b, c, d = a[..., :, None], b[..., :, None], c[..., None, :], d[..., None, :]
    pairs = ops.stack([ops.sum(a * c - b * d, axis=-3), ops.sum(a * d + b * c, axis=-3)], axis=-1)
    *leading, high, low, _ = pairs.shape
    return ops.reshape(pairs, (-1, *leading[1:], high * low, 2))[..., :bins, :]


def istft_pairs(pairs, spectral: Spectral, start=None):
    """Return the sounds (examples, samples) of scaled spectra (examples, frames, bins, 2), differentiable. As
    stft.istft without padding, at the oversampled rate. start: first samples (examples,) of heterodyned spectra."""
    length, frames = spectral.frame_length, pairs.shape[1]
    if start is not None:
        at = ops.expand_dims(start, -1) + spectral.frame_step * np.arange(frames, dtype=np.int32)
        turns = ops.mod(ops.expand_dims(at % length, -1) * np.arange(spectral.bins, dtype=np.int32), length)
        angle = ops.cast(turns, "float32") * (2 * np.pi / length)
        pairs = complex_product(pairs, ops.stack([ops.cos(angle), ops.sin(angle)], axis=-1))
    weights = ops.tile(np.square(window_samples(spectral))[None, None], (1, frames, 1))
    added = (overlap_add_frames(x, spectral) for x in (windowed_frames(pairs, spectral), weights))
    sounds, weight = (x[:, : samples_of_frames(frames, spectral)] for x in added)
    return sounds / ops.maximum(weight, 0.01 * ops.max(weight))


def windowed_frames(pairs, spectral: Spectral):
    """Return the windowed frames (..., frames, frame_length) of scaled spectra (..., frames, bins, 2)."""
    missing = [(0, 0)] * (len(pairs.shape) - 2) + [(0, spectral.frame_length // 2 + 1 - spectral.bins)]
    parts = (ops.pad(pairs[..., part], missing) for part in (0, 1))
    frames = ops.irfft(tuple(parts), fft_length=spectral.frame_length)
    return frames * (window_samples(spectral) / spectral.scale)


def overlap_add_frames(frames, spectral: Spectral):
    """Return the sounds (rows, samples) of windowed frames (rows, frames, frame_length), as stft.overlap_add: where all
    frames that reach a sample are added, it is whole."""
    step, count = spectral.frame_step, frames.shape[1]
    blocks = -(-spectral.frame_length // step)
    parts = ops.pad(frames, [(0, 0), (0, 0), (0, blocks * step - spectral.frame_length)])
    parts = ops.reshape(parts, (-1, count, blocks, step))
    if count < blocks:
        parts, count, blocks = ops.swapaxes(parts, 1, 2), blocks, count
    moved = (ops.pad(parts[:, :, n], [(0, 0), (n, blocks - 1 - n), (0, 0)]) for n in range(blocks))
    return ops.reshape(sum(moved) / overlap_energy(spectral).astype(np.float32), (-1, (count + blocks - 1) * step))
