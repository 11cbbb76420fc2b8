"""Keys that a pair lacks (notebook 14_keys_never_heard). Each gets the tables of the nearest heard key. In a modal
network they become its own: partials take their levels from all heard keys around it, and the impulse's mask moves with
them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from nnss_utils.dsp.normalization import LOGARITHM
from nnss_utils.dsp.stft import padding
from nnss_utils.instruments.modes import carried_modes, partial_numbers
from nnss_utils.midi import Note, nearest_key
from nnss_utils.model.backend import ops
from nnss_utils.model.forward import predict_gains, tone_spectra
from nnss_utils.model.inputs import Voices, make_table, voice_inputs
from nnss_utils.model.networks import impulse_bands
from nnss_utils.model.settings import build_network
from nnss_utils.model.time_basis import SINCE_ON
from nnss_utils.model.trained import TrainedModel

REACH = 4.0  # semitones, standard deviation of a heard key's weight
FAR = 12  # semitones, at which keys but the lender no longer count
STEADY = 0.1  # keys' weight against a slope over the keys
MEAN_OF_ENERGIES = 0.5  # 0: the mean of dB, nearest in log-spectral distance; 1: that of energies, of the right level
FLOOR_DB = -90.0  # below a key's strongest partial
MOST_DB = 20.0  # of a correction


def borrow_keys(model: TrainedModel, heard: Iterable[int] = ()) -> TrainedModel:
    """Return a model in which each key of its range has tables; those not `heard` get theirs as the module says. heard:
    by default the keys with tables. A model that lacks no key is returned as it is."""
    heard, kind = sorted(heard or model.heard.keys), model.settings.network.kind
    lenders = {p: nearest_key(p, heard) for p in range(model.low, model.high + 1) if p not in heard}
    if not lenders or not kind.per_voice:
        return model
    model = with_all_keys(model, lenders)
    if not kind.modes:
        return model
    factors = model.settings.training.power != LOGARITHM  # a gain's logarithm is no factor
    weights = {w.path.split("/")[0]: w for w in model.network.weights if w.path.startswith(("own_", "common_"))}
    own = {name: ops.convert_to_numpy(weight).reshape(len(model.heard.keys), -1, weight.shape[-1]).copy()
           for name, weight in weights.items() if name.startswith("own_")}  # fmt: skip
    velocities = model.heard.dynamics.velocities if model.heard.dynamics else [100]
    for number, velocity in enumerate(velocities):
        levels = partial_levels(model, heard, velocity) if factors else {}
        _move_gains(own["own_gains"][:, number], lenders, levels, model)
    _move_masks(own, weights, lenders, model)
    for name, values in own.items():
        weights[name].assign(values.reshape(weights[name].shape))
    for velocity in velocities if factors else ():
        _match_energies(weights["own_gains"], lenders, heard, model, velocity)
    return model


def with_all_keys(model: TrainedModel, lenders: dict[int, int]) -> TrainedModel:
    """Return a copy of a model with tables for each key of its range; keys in `lenders` have their lender's."""
    every = tuple(range(model.low, model.high + 1))
    heard = replace(model.heard, keys=every) if model.settings.network.kind.modes else model.heard
    network = build_network(model.settings, *heard.tables)
    source = np.searchsorted(model.heard.keys, [lenders.get(pitch, pitch) for pitch in heard.keys])
    for old, new in zip(model.network.weights, network.weights, strict=True):
        values = ops.convert_to_numpy(old)
        if old.path.startswith(("own_", "key/")):  # the velocities of a key follow each other
            values = values.reshape(len(model.heard.keys), -1)[source].reshape(new.shape)
        new.assign(values)
    return replace(model, network=network, heard=heard)


def partial_levels(model: TrainedModel, heard: Sequence[int], velocity: int = 100) -> dict[int, dict[int, np.ndarray]]:
    """Return by heard key and number of a partial its level in dB at the times of SINCE_ON, float64 (times,): the
    energy of all modes that are this partial, by the gains of a held note."""
    spectral = model.settings.spectral
    starts = np.round(SINCE_ON.seconds * spectral.rate - spectral.frame_length / 2).astype(int)
    inputs = _inputs([Note(0.0, 60.0, key, velocity) for key in heard], starts, model)
    gains = model.network([inputs[name] for name in ("features", "attack", "row")])[0]
    squares = np.sum(np.square(ops.convert_to_numpy(gains), dtype=np.float64), axis=-1)
    energies = squares ** (1 / model.settings.training.power)
    levels = {}
    for key, energy in zip(heard, energies, strict=True):
        h, is_partial = partial_numbers(model.tuning.modes[key - model.tuning.low], model.tuning, key)
        numbers = np.round(h[is_partial]).astype(int)
        energy = energy[:, : len(h)][:, is_partial]
        sums = {int(n): energy[:, numbers == n].sum(axis=1) for n in np.unique(numbers)}
        floor = max((float(total.max()) for total in sums.values()), default=0.0) * 10 ** (FLOOR_DB / 10) + 1e-30
        levels[key] = {n: 10 * np.log10(np.maximum(total, floor)) for n, total in sums.items()}
    return levels


def between(levels: dict[int, np.ndarray], pitch: int) -> np.ndarray:
    """Return dB (times,) at a pitch on the line through the keys' `levels`, nearer keys counting more."""
    apart, db = np.array(list(levels)) - pitch, np.stack(list(levels.values()))
    square = (apart / REACH) ** 2
    weight, line = np.exp(-0.5 * (square - square.min())), np.stack([np.ones(len(apart)), apart / REACH], axis=1)
    normal = line.T * weight
    fit = np.linalg.solve(normal @ line + np.diag([1e-9, STEADY]), normal @ db)
    spread = weight @ np.square(db - line @ fit) / weight.sum()
    return fit[0] + MEAN_OF_ENERGIES * np.log(10) / 20 * spread


def _move_gains(table: np.ndarray, lenders: dict[int, int], levels: dict, model: TrainedModel) -> None:
    """Give each key in `lenders` the gains of its own modes, in the order of their frequencies."""
    low, power = model.tuning.low, model.settings.training.power
    for pitch, lender in lenders.items():
        modes = np.array(model.tuning.modes[lender - low])
        h, is_partial = partial_numbers(modes, model.tuning, lender)
        own = table[lender - low].reshape(SINCE_ON.count, -1, 2).copy()
        for number, level in levels.get(lender, {}).items():
            having = [key for key in levels if number in levels[key] and (abs(key - pitch) < FAR or key == lender)]
            near = {key: levels[key][number] for key in having}
            correction = np.clip(between(near, pitch) - level, -MOST_DB, MOST_DB)
            own[:, : len(h)][:, is_partial & (np.round(h) == number)] *= 10 ** (power * correction / 20)[:, None, None]
        order = np.argsort(carried_modes(modes, model.tuning, lender, pitch))
        own[:, : len(order)] = own[:, order]
        table[pitch - low] = own.ravel()


def _move_masks(own: dict[str, np.ndarray], weights: dict, lenders: dict[int, int], model: TrainedModel) -> None:
    """Move the masks of each key in `lenders` along the frequencies, by the interval from the key that lent them. own:
    tables (keys, velocities, numbers)."""
    f0, low, first = np.array(model.tuning.f0), model.tuning.low, 0  # bin of a band
    for name, curves, width in impulse_bands(model.settings.network.units, model.settings.spectral.bins):
        common, table = ops.convert_to_numpy(weights[f"common_{name}"])[0], own[f"own_{name}"]
        bins = np.arange(first, first + width // 2)
        for pitch, lender in lenders.items():
            mask = (common + table[lender - low]).reshape(-1, curves, width // 2, 2)
            source = np.round(bins * f0[lender - low] / f0[pitch - low]).astype(int)
            moved = mask[:, :, np.clip(source, bins[0], bins[-1]) - first]  # neither bin nor phase is averaged
            table[pitch - low] = moved.reshape(len(moved), -1) - common
        first += width // 2


def _match_energies(table, lenders: dict[int, int], heard: Sequence[int], model: TrainedModel, velocity: int) -> None:
    """Give each key in `lenders` the energy that lies between its heard neighbours' at a velocity, on a line in dB over
    the keys, by a factor a of its modes: |a tone + impulse|^2 = a^2 tone^2 + 2 a tone impulse + impulse^2."""
    tone, both, impulse = _energies(model, heard, velocity)
    wanted = np.exp(np.interp(list(lenders), heard, np.log(tone + 2 * both + impulse + 1e-20)))
    tone, both, impulse = _energies(model, lenders, velocity)
    root = np.sqrt(np.maximum(0, both**2 + tone * (wanted - impulse)))
    factor = np.clip((root - both) / np.maximum(tone, 1e-20), 10 ** (-MOST_DB / 20), 10 ** (MOST_DB / 20))
    values = ops.convert_to_numpy(table).copy()
    rows = model.heard.rows(Voices.of([Note(0.0, 1.0, pitch, velocity) for pitch in lenders]))
    values[rows] *= (factor**model.settings.training.power)[:, None]
    table.assign(values)


def _energies(model: TrainedModel, pitches: Iterable[int], velocity: int) -> np.ndarray:
    """Return the energy of the modes, the product of modes and impulse, and the energy of the impulse, float64 (3,
    pitches), of half a second of each pitch at a velocity."""
    notes, spectral = [Note(0.0, 0.5, pitch, velocity) for pitch in pitches], model.settings.spectral
    starts = np.arange(-padding(spectral), round(0.5 * spectral.rate), spectral.frame_step)
    inputs = _inputs(notes, starts, model)
    gains, damping, impulse = predict_gains(model.network, inputs, model.settings, model.output_scale)
    tone = tone_spectra(gains, damping, inputs, spectral)
    products = (ops.sum(x * y, axis=(1, 2, 3)) for x, y in ((tone, tone), (tone, impulse), (impulse, impulse)))
    return np.array([ops.convert_to_numpy(product) for product in products], np.float64)


def _inputs(notes: Sequence[Note], starts: np.ndarray, model: TrainedModel) -> dict:
    """Return the network's inputs of each note's frames that start at `starts` (frames,)."""
    table = make_table(model.tuning, notes, model.settings)
    inputs = voice_inputs(Voices.of(notes), np.tile(starts, (len(notes), 1)), table, model.settings, model.heard)
    return {name: ops.convert_to_tensor(x) for name, x in inputs.items()}
