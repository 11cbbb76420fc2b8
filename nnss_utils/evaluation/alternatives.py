"""The alternatives to a network that a user has (notebook 13_attacks_and_alternatives)."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation.baselines import griffin_lim
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.piece import Piece, at_energy_of, codify_mix
from nnss_utils.evaluation.tables import LEVELS, WAVEFORM, measures_table
from nnss_utils.instruments.load import is_soundfont, load_instrument
from nnss_utils.model.model_file import TrainedModel, find_model
from nnss_utils.paths import CACHE


def measure_alternatives(piece: Piece, model: TrainedModel, path: str) -> dict[str, dict]:
    """Return by name the measures, the speed (times real time) and the size on disk (MB) of each way to play a piece.
    `model`, of the file or name `path`, renders the piece. The alternatives: the sampler, as a user runs it;
    Griffin-Lim on the true magnitudes; the codification at the target's energy."""
    instrument = load_instrument(model.instrument)
    if is_soundfont(model.instrument):
        title, play, source = "fluidsynth, the same SoundFont", instrument.perform, Path(model.instrument)
    else:
        title, play, source = "sampler, the same recordings", instrument.render, CACHE / "iowa-steinway"
    target, tuning = piece.target, json.dumps(asdict(model.tuning))
    alternatives = {  # name -> (what makes the sound, bytes)
        "Griffin-Lim on the true magnitudes": (lambda: griffin_lim(target), 4 * 1025 * len(target) / 512),
        "codification alone": (lambda: at_energy_of(target, codify_mix(piece.notes, len(target), model)), len(tuning)),
        title: (lambda: play(piece.notes), _size(source)),
    }
    sounds = {"network": (piece.prediction, piece.synthesis_seconds, _size(find_model(path)))}
    for name, (make, size) in alternatives.items():
        started = time.perf_counter()
        sounds[name] = make(), time.perf_counter() - started, size
    return {
        name: measure(target, sound, piece.onsets)
        | {"times_real_time": len(target) / SAMPLE_RATE / seconds, "megabytes": size / 1e6}
        for name, (sound, seconds, size) in sounds.items()
    }


def _size(path: Path) -> float:
    """Return the bytes of a file, or of all files in a folder."""
    return float(sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file()))


def alternatives_table(rows: dict[str, dict]) -> str:
    """Return the alternatives as a Markdown table; an SNR of 200 dB is the sound itself."""
    columns = WAVEFORM | LEVELS | {"x real time": "{times_real_time:.1f}", "MB on disk": "{megabytes:.2f}"}
    return measures_table(rows, columns).replace("| 200.0 |", "| exact |")
