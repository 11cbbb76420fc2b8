"""Inference: batches of tiles of frames to denormalized spectra or to sound, compiled once for each shape."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nnss_utils.dsp.stft import undersample
from nnss_utils.model import forward
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.model.modes import SHARED
from nnss_utils.model.pairs import as_complex, overlap_add_frames
from nnss_utils.model.settings import Settings


@dataclass(frozen=True)
class Tiling:
    """How frames are given to a network: a tile has `core` frames and `context` more on each side; `rows` are the batch
    sizes that are compiled, largest first."""

    core: int
    context: int
    rows: tuple[int, ...]

    @classmethod
    def of(cls, model: TrainedModel) -> "Tiling":
        """Return the tiling that suits a model's network."""
        o, frames = model.settings.spectral.oversampling, model.settings.training.frames
        if not model.settings.network.kind.sequences:
            core, rows = (18, (12, 2)) if model.settings.network.kind.modes else (16, (32, 8))
            return cls(-(-core // o) * o, 0, rows)  # tiles start on samples of the plain rate
        # as long as the training sequences, a quarter of them on each side for context only
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
        """Return the rows of the shape that holds a batch of `count` rows."""
        return min(rows for rows in self.rows if rows >= count)


def predict_sounds(model: TrainedModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the sounds float32 (tiles, samples) of a batch's tiles, from the first frame after the context on: tiles
    of a voice add up to it."""
    return undersample(_predict(model, inputs, sound=True).T, model.settings.spectral.oversampling).T


def predict_spectra(model: TrainedModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return a batch's predicted spectra complex64 (tiles, core, bins), denormalized, without the context."""
    return as_complex(_predict(model, inputs, sound=False))


def _predict(model: TrainedModel, inputs: dict[str, np.ndarray], *, sound: bool) -> np.ndarray:
    """Return sounds or pairs of a batch, which is padded to a shape that is compiled."""
    tiling, count = Tiling.of(model), len(next(iter(inputs.values())))
    rows = tiling.padded(count)
    if rows > count:
        own = {name: x for name, x in inputs.items() if name not in SHARED}
        inputs = inputs | {name: np.pad(x, [(0, rows - count)] + [(0, 0)] * (x.ndim - 1)) for name, x in own.items()}
    compiled = _compiled(model.network, model.settings, model.output_scale, tiling, sound, rows)
    return ops.convert_to_numpy(compiled(inputs))[:count]


@lru_cache(maxsize=8)
def _compiled(
    network: keras.Model, settings: Settings, output_scale: float, tiling: Tiling, sound: bool, rows: int
) -> Callable:
    """Return the function from the inputs of `rows` tiles to denormalized pairs without the context, or to their sound,
    compiled where the backend can. Each number of rows has its own: TensorFlow warns of one that it compiles often."""

    def predict(inputs):
        function = forward.predict_frames if sound else forward.predict_spectra
        predicted = function(network, inputs, settings, output_scale)[:, tiling.context : tiling.context + tiling.core]
        return overlap_add_frames(predicted, settings.spectral) if sound else predicted

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(predict, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(predict)
    return lambda inputs: predict({name: ops.convert_to_tensor(x) for name, x in inputs.items()})


class OverlapBuffer:
    """Adds pieces of sound that overlap, and gives the samples that are complete, one stretch after the other."""

    def __init__(self) -> None:
        """Begin at sample 0; what pieces have before it is left out."""
        self.at = 0
        self._pending = np.zeros(0, np.float32)

    def add(self, first: int, piece: np.ndarray) -> None:
        """Add a piece, float32 (samples,), that begins at sample `first`."""
        begin, end = max(0, self.at - first), first + len(piece) - self.at
        if end > len(self._pending):
            self._pending = np.pad(self._pending, (0, max(end, 2 * len(self._pending)) - len(self._pending)))
        if begin < len(piece):
            self._pending[end - len(piece) + begin : end] += piece[begin:]

    def take(self, size: int) -> np.ndarray:
        """Return the next `size` samples, float32, and go on after them."""
        part, self._pending = self._pending[:size], self._pending[size:]
        self.at += size
        return np.pad(part, (0, size - len(part)))
