"""A piece rendered by a network and by its instrument, and its measures (notebook 06_evaluation)."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import UnavailableError
from nnss_utils.evaluation.baselines import STRETCH
from nnss_utils.evaluation.tables import claim_name, result_file
from nnss_utils.instruments.base import on_grid
from nnss_utils.instruments.load import can_play, grid_of, load_instrument
from nnss_utils.instruments.pair import read_target
from nnss_utils.instruments.wav import stored, write_wav
from nnss_utils.midi import Note
from nnss_utils.model.codification import codify
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.paths import RENDERS, give_back_memory, relative, write_json
from nnss_utils.provenance import made_with, peak_memory
from nnss_utils.scores import read_notes
from nnss_utils.synthesis.render import render


@dataclass(frozen=True)
class Piece:
    """A piece with its sounds, float32 (samples,) of one length and scale, and the rendering time (s). The
    target is None where nothing here can play it. The codification has the energy of the target or the prediction."""

    name: str
    notes: tuple[Note, ...]
    target: np.ndarray | None
    prediction: np.ndarray
    codification: np.ndarray
    synthesis_seconds: float

    @property
    def onsets(self) -> np.ndarray:
        """Starts of the notes in seconds."""
        return np.array([note.start for note in self.notes])

    @property
    def folder(self) -> Path:
        """Where its sounds and pictures are."""
        return RENDERS / self.name


def make_piece(
    midi: str, model: TrainedModel, name: str = "", wav: str = "", output: str = "16-bit",
    late: int | None = None, trusted: bool = False,
) -> Piece:  # fmt: skip
    """Render a piece with the network and its instrument, write both as WAV and return all. The target is the model's
    instrument, or the recording `wav` (late, trusted: as in `load_pair`); without either the piece has no target. The
    prediction is written as soon as it is made; if a peak of either is above 1, both are scaled. Raises `InputError`
    for bad input."""
    played = can_play(model.instrument) and not wav
    notes = on_grid(read_notes(midi), grid_of(model.instrument) if played else 1)
    name = claim_name(midi, name)
    target = None
    if wav:
        notes, target = read_target(wav, notes, model.training["late"], late, trusted)
    started = time.perf_counter()
    prediction = render(notes, model)
    seconds = time.perf_counter() - started
    written = write_wav(RENDERS / name / "prediction.wav", prediction, output)
    print(f"{relative(written)}: {len(prediction) / SAMPLE_RATE:.1f} s of sound in {seconds:.1f} s")
    give_back_memory()  # a network's frames are large
    if not wav:
        target = _played(notes, model)
    sounds = {"prediction": prediction} if target is None else {"target": target, "prediction": prediction}
    del target, prediction  # a long piece's sounds are large
    samples, peak = max(map(len, sounds.values())), max(float(np.abs(sound).max()) for sound in sounds.values())
    if peak > 1:
        print(f"{name}: peak {peak:.2f} is above 1; {' and '.join(sounds)} scaled by {-20 * np.log10(peak):.1f} dB")
    for kind in sounds:
        sounds[kind] = _whole(sounds[kind], samples, 1 / max(peak, 1))
        write_wav(RENDERS / name / f"{kind}.wav", sounds[kind], output)
    loudness = sounds.get("target", sounds["prediction"])
    codification = _whole(at_energy_of(loudness, codify_mix(notes, samples, model)), samples)
    return Piece(name, tuple(notes), sounds.get("target"), sounds["prediction"], codification, seconds)


def _whole(sound: np.ndarray, samples: int, gain: float = 1.0) -> np.ndarray:
    """Return a sound times `gain`, silent after its end, float32 (samples,), mapped from a file if it is long."""
    blocks = (sound[at : at + STRETCH] * np.float32(gain) for at in range(0, len(sound), STRETCH))
    return stored(itertools.chain(blocks, [np.zeros(samples - len(sound), np.float32)]), samples)


def _played(notes: Sequence[Note], model: TrainedModel) -> np.ndarray | None:
    """Return the notes played by the model's instrument; None, and why, where that can't play here."""
    if not can_play(model.instrument):
        print(
            f"no target: {model.name!r} learnt from an {model.instrument}; to measure it give "
            "wav=PATH, the same instrument's recording of this piece"
        )
        return None
    try:
        return load_instrument(model.instrument).render(notes)
    except UnavailableError as error:
        print(f"no target: {error}")
        return None


def at_energy_of(target: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Return a sound, float32 (samples,), at the energy of `target`."""
    return sound * np.float32(np.linalg.norm(target) / max(np.linalg.norm(sound), 1e-9))


def codify_mix(notes: Sequence[Note], samples: int, model: TrainedModel) -> np.ndarray:
    """Return the sum of the codification's channels, float32 (samples,), made in stretches to save memory."""
    out = np.zeros(samples, np.float32)
    for first in range(0, samples, STRETCH):
        part = out[first : first + STRETCH]
        part[:] = codify(notes, len(part), model.settings.codification, model.tuning, first).sum(axis=0)
    return out


def record(piece: Piece, model: TrainedModel, rows: dict[str, dict]) -> dict:
    """Write data/results/evaluation/NAME.json and return its content; rows: the measures of the network and of the
    baselines (`measure_sounds`)."""
    baselines = {name: row for name, row in rows.items() if name != "network"}
    result = {
        **rows["network"], "seconds": len(piece.target) / SAMPLE_RATE,
        "synthesis_seconds": piece.synthesis_seconds, "peak_memory_mb": peak_memory() / 1e6, "model": model.name,
        "parameters": {"count": model.network.count_params(), **model.settings.to_dict()},
        "training": model.training, "references": baselines, **made_with(piece.notes, piece.target),
    }  # fmt: skip
    write_json(result_file(piece.name), result)
    return result
