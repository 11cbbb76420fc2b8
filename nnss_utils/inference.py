"""A trained network put to work: batches of tiles of frames in, denormalized spectra out, compiled once a shape."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
import scipy.fft
from keras import ops

from nnss_utils import models
from nnss_utils.modelfile import TrainedModel
from nnss_utils.normalization import denormalize_pairs
from nnss_utils.spectral import Spectral, overlap_add, undersample


@dataclass(frozen=True)
class Tiling:
    """How frames are put before a network: rows of `core` frames, with `context` more on each side.

    rows: how many rows a batch may have, the most first; a few shapes, so that few are compiled.
    """

    core: int
    context: int
    rows: tuple[int, ...]

    @classmethod
    def of(cls, model: TrainedModel) -> "Tiling":
        """Return what suits the model's network."""
        o = model.settings.spectral.oversampling  # tiles start on samples of the plain rate
        frames = model.settings.training.frames
        if not model.settings.network.sequences:
            return cls(-(-16 // o) * o, 0, (32, 8))
        # as long as the sequences it learnt from, a quarter of them on each side for context only
        context, core = frames // 4, max(1, frames - 2 * (frames // 4))
        return cls(-(-core // o) * o, -(-context // o) * o, (max(1, 1536 // (core + 2 * context)),))

    @property
    def frames(self) -> int:
        """Frames of a tile with its context."""
        return self.core + 2 * self.context

    def batches(self, tiles: list) -> Iterator[list]:
        """Yield the tiles in batches: as many as possible of the largest size, then the rest in smaller ones."""
        at = 0
        while at < len(tiles):
            left = len(tiles) - at
            size = next((rows for rows in self.rows if rows <= left), self.rows[-1])
            yield tiles[at : at + size]
            at += size

    def padded(self, count: int) -> int:
        """Return the rows of the shape that takes a batch of `count` rows."""
        return min(rows for rows in self.rows if rows >= count)


def predict_spectra(model: TrainedModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return a batch's predicted spectra complex64 (tiles, core, bins), denormalized, the context cut off."""
    tiling, settings = Tiling.of(model), model.settings
    count = len(next(iter(inputs.values())))
    padding = tiling.padded(count) - count
    if padding:
        inputs = {name: np.pad(v, [(0, padding)] + [(0, 0)] * (v.ndim - 1)) for name, v in inputs.items()}
    predict = _compiled(model.network, settings.network.per_voice, settings.training.power, model.level)
    inputs = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
    pairs = ops.convert_to_numpy(predict(inputs))[:count, tiling.context : tiling.context + tiling.core]
    return np.ascontiguousarray(pairs).view(np.complex64)[..., 0]


@lru_cache(maxsize=4)
def _compiled(network: keras.Model, per_voice: bool, power: float | str, level: float) -> Callable:
    """Return the function from a batch's inputs to denormalized pairs, compiled where the backend can."""
    predict = models.predict_voices if per_voice else models.predict_mix

    def forward(inputs):
        return denormalize_pairs(predict(network, inputs, power, level), power)

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(forward, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(forward)
    return forward


def resynthesize(spectra: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the sound float32 (samples,) that scaled frames (frames, bins) add, from the first frame's start on."""
    frames = scipy.fft.irfft(spectra, n=spectral.frame_length, axis=-1)
    frames *= np.float32(1 / spectral.scale)
    return undersample(overlap_add(frames, spectral), spectral.oversampling)
