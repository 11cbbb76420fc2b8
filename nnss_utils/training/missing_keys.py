"""Keys that a pair lacks: they do as the nearest heard key does, and sound as loud."""

from collections.abc import Iterable

import numpy as np

from nnss_utils.dsp.stft import padding
from nnss_utils.midi import Note, nearest_key
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.forward import predict_spectra
from nnss_utils.model.inputs import Voices, make_table, voice_inputs
from nnss_utils.model.model_file import TrainedModel


def borrow_tables(network: keras.Model, trained: set[int], low: int, high: int) -> dict[int, int]:
    """Copy the nearest trained key's tables to untrained keys of low..high; return these keys with their lenders."""
    lenders = {pitch: nearest_key(pitch, trained) for pitch in range(low, high + 1) if pitch not in trained}
    tables = [weight for weight in network.weights if weight.path.startswith(("own_", "key/"))]
    for weight in tables if lenders else ():
        values = ops.convert_to_numpy(weight).copy()
        values[list(lenders)] = values[list(lenders.values())]
        weight.assign(values)
    return lenders if tables else {}


def borrow_keys(model: TrainedModel, heard: Iterable[int]) -> list[int]:
    """Give keys that are not `heard` the nearest heard key's tables, and in a modal network its level; return them."""
    lenders, power = borrow_tables(model.network, set(heard), model.low, model.high), model.settings.training.power
    if lenders and model.settings.network.kind.modes and not isinstance(power, str):
        table = next(weight for weight in model.network.weights if weight.path.startswith("own_gains"))
        wanted = _energies(model, lenders.values())
        for _ in range(4):  # more than once, since the impulse beside the gains stays as it is
            values = ops.convert_to_numpy(table).copy()
            ratios = wanted / np.maximum(1e-20, _energies(model, lenders))
            values[list(lenders)] *= np.clip(ratios ** (power / 2), 0.7, 1.4)[:, None]
            table.assign(values)
    return list(lenders)


def _energies(model: TrainedModel, pitches: Iterable[int]) -> np.ndarray:
    """Return the energy of the spectra of half a second of each pitch (pitches,)."""
    notes, spectral = [Note(0.0, 0.5, pitch) for pitch in pitches], model.settings.spectral
    starts = np.arange(-padding(spectral), round(0.5 * spectral.rate), spectral.frame_step)
    voices, table = Voices.of(notes), make_table(model.tuning, notes, model.settings)
    inputs = voice_inputs(voices, np.tile(starts, (len(notes), 1)), table, model.settings, model.heard)
    inputs = {name: ops.convert_to_tensor(x) for name, x in inputs.items()}
    spectra = ops.convert_to_numpy(predict_spectra(model.network, inputs, model.settings, model.output_scale))
    return np.sum(np.square(spectra, dtype=np.float64), axis=(1, 2, 3))
