"""Keys that a pair lacks: they do as the nearest heard key does, and sound as loud."""

from collections.abc import Iterable

import numpy as np

from nnss_utils.dsp.stft import padding
from nnss_utils.midi import Note
from nnss_utils.model.backend import ops
from nnss_utils.model.forward import predict_spectra
from nnss_utils.model.inputs import Voices, make_table, voice_inputs
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.model.networks import borrow_tables

SECONDS = 0.5  # of the notes that are compared
ROUNDS = 4  # of adapting the gains: the impulse beside them stays as it is
MOST = 1.5  # by which a round may change a normalized gain


def borrow_keys(model: TrainedModel, heard: Iterable[int]) -> list[int]:
    """Give the keys of the model's range that are not `heard` the tables of the nearest one; a modal network's gains
    also become as much larger or smaller as makes a note equally loud. Returns these keys."""
    lenders = borrow_tables(model.network, set(heard), model.low, model.high)
    power = model.settings.training.power
    if lenders and model.settings.network.kind.modes and not isinstance(power, str):
        table = next(weight for weight in model.network.weights if weight.path.startswith("own_gains"))
        wanted = _energies(model, list(lenders.values()))
        for _ in range(ROUNDS):
            values = ops.convert_to_numpy(table).copy()
            ratios = (wanted / np.maximum(1e-20, _energies(model, list(lenders)))) ** (power / 2)
            values[list(lenders)] *= np.clip(ratios, 1 / MOST, MOST)[:, None]
            table.assign(values)
    return list(lenders)


def _energies(model: TrainedModel, pitches: list[int]) -> np.ndarray:
    """Return the energy of the spectra of a note of half a second, for each pitch (pitches,)."""
    notes, spectral = [Note(0.0, SECONDS, pitch) for pitch in pitches], model.settings.spectral
    starts = np.arange(-padding(spectral), round(SECONDS * spectral.rate), spectral.frame_step)
    table = make_table(model.tuning, notes, model.settings)
    starts = np.tile(starts, (len(notes), 1))
    inputs = voice_inputs(Voices.of(notes), starts, table, model.settings, model.heard)
    inputs = {name: ops.convert_to_tensor(x) for name, x in inputs.items()}
    spectra = ops.convert_to_numpy(predict_spectra(model.network, inputs, model.settings, model.output_scale))
    return np.sum(np.square(spectra, dtype=np.float64), axis=(1, 2, 3))
