"""What a user would pick instead of a network, in one run on one piece: quality, speed, size (08_full_bandwidth)."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from nnss_utils import metrics
from nnss_utils.codification import codify_mix
from nnss_utils.evaluation import Piece
from nnss_utils.instrument import is_soundfont, load_instrument
from nnss_utils.modelfile import TrainedModel, find_model
from nnss_utils.paths import CACHE

NETWORK = "network"


def compare(piece: Piece, model: TrainedModel, path: str) -> dict[str, dict]:
    """Return by name the measures, the speed (times real time) and the size on disk (MB) of each way to play a piece.

    The piece is rendered by `model`, kept in the file (or under the name) `path`. The others: the sampler itself,
    as a user runs it; Griffin-Lim, given the true magnitudes, which take a recording to have; the codification,
    at the target's energy, which takes the tuning alone.
    """
    instrument = load_instrument(model.instrument)
    others: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        "Griffin-Lim on the true magnitudes": (lambda: metrics.griffin_lim(piece.target), _magnitudes_size(piece)),
        "codification alone": (lambda: _codification(piece, model), len(json.dumps(asdict(model.tuning)))),
    }
    if is_soundfont(model.instrument):
        others["fluidsynth, the same SoundFont"] = (
            lambda: instrument.perform(piece.notes),
            _size(Path(model.instrument)),
        )
    else:
        others["sampler, the same recordings"] = lambda: instrument.render(piece.notes), _size(CACHE / "iowa-steinway")
    rows = {NETWORK: _row(piece, piece.prediction, piece.synthesis_seconds, _size(find_model(path)))}
    for name, (play, size) in others.items():
        begun = time.perf_counter()
        sound = play()
        rows[name] = _row(piece, sound, time.perf_counter() - begun, size)
    return rows


def _row(piece: Piece, sound: np.ndarray, seconds: float, size: float) -> dict:
    speed = len(piece.target) / metrics.SAMPLE_RATE / seconds
    return {**metrics.measure(piece.target, sound, piece.onsets), "times_real_time": speed, "megabytes": size / 1e6}


def _codification(piece: Piece, model: TrainedModel) -> np.ndarray:
    sound = codify_mix(piece.notes, len(piece.target), model.settings.codification, model.tuning)
    return sound * np.float32(np.linalg.norm(piece.target) / max(np.linalg.norm(sound), 1e-9))


def _magnitudes_size(piece: Piece) -> float:
    """Return the bytes of a piece's magnitudes (STFT 2048/512, float32): what Griffin-Lim starts from."""
    return 4 * 1025 * len(piece.target) / 512


def _size(path: Path) -> float:
    """Return the bytes of a file, or of all files in a folder."""
    return float(sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file()))


def table(rows: dict[str, dict]) -> str:
    """Return the comparison as a Markdown table."""
    lines = [
        "| | correlation | SNR dB | attack LSD dB | sustain LSD dB | x real time | MB on disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        snr = "exact" if row["snr_db"] >= 190 else f"{row['snr_db']:.1f}"
        lines.append(
            f"| {name} | {row['correlation']:.4f} | {snr} | {row['attack_lsd_db']:.2f} | "
            f"{row['sustain_lsd_db']:.2f} | {row['times_real_time']:.1f} | {row['megabytes']:.2f} |"
        )
    return "\n".join(lines)
