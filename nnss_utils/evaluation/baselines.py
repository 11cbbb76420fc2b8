"""What a prediction is compared with: simple baselines (06), and what a user would choose instead of a network (13)."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import librosa
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.piece import Piece, codify_mix
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.load import is_soundfont, load_instrument
from nnss_utils.model.model_file import TrainedModel, find_model
from nnss_utils.paths import CACHE

STFT = {"n_fft": 2048, "hop_length": 512}


def griffin_lim(target: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the sound that Griffin-Lim (1984) finds for the true magnitudes of `target`, by librosa."""
    magnitudes = np.abs(librosa.stft(y=np.asarray(target, np.float32), **STFT))
    return librosa.griffinlim(magnitudes, n_iter=32, length=len(target), random_state=seed, **STFT)


def true_magnitude_codification_phase(target: np.ndarray, codification: np.ndarray) -> np.ndarray:
    """Return the sound of the target's magnitudes with the phase of `codification` (samples,), STFT 2048/512."""
    phase = np.angle(librosa.stft(y=np.asarray(codification, np.float32), **STFT))
    S = np.abs(librosa.stft(y=np.asarray(target, np.float32), **STFT)) * np.exp(1j * phase)
    return librosa.istft(S, length=len(target), **STFT)


def at_energy_of(target: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Return a sound, float32 (samples,), at the energy of `target`."""
    return sound * np.float32(np.linalg.norm(target) / max(np.linalg.norm(sound), 1e-9))


def baseline_sounds(piece: Piece, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the baselines of a piece by name; each float32 (samples,)."""
    return {
        "silence": np.zeros_like(piece.target),
        "codification (at the target's energy)": at_energy_of(piece.target, piece.codification),
        "true magnitudes, codification's phase": true_magnitude_codification_phase(piece.target, piece.codification),
        "Griffin-Lim on the true magnitudes": griffin_lim(piece.target, seed),
    }


def measure_sounds(piece: Piece, sounds: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return all measures of each sound against the piece's target, by name."""
    return {name: measure(piece.target, sound, piece.onsets) for name, sound in sounds.items()}


def measure_alternatives(piece: Piece, model: TrainedModel, path: str) -> dict[str, dict]:
    """Return by name the measures, the speed (times real time) and the size on disk (MB) of each way to play a piece.

    The piece is rendered by `model`, the file (or name) `path`. The alternatives: the sampler itself, as a user runs
    it; Griffin-Lim on the true magnitudes, which need a recording; the codification at the target's energy, which
    needs the tuning alone.
    """
    instrument = load_instrument(model.instrument)
    alternatives: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        "Griffin-Lim on the true magnitudes": (lambda: griffin_lim(piece.target), 4 * 1025 * len(piece.target) / 512),
        "codification alone": (
            lambda: at_energy_of(piece.target, codify_mix(piece.notes, len(piece.target), model)),
            len(json.dumps(asdict(model.tuning))),
        ),
    }
    if is_soundfont(model.instrument):
        font = Path(model.instrument)
        alternatives["fluidsynth, the same SoundFont"] = lambda: instrument.perform(piece.notes), _size(font)
    else:
        recordings = CACHE / "iowa-steinway"
        alternatives["sampler, the same recordings"] = lambda: instrument.render(piece.notes), _size(recordings)
    rows = {"network": _row(piece, piece.prediction, piece.synthesis_seconds, _size(find_model(path)))}
    for name, (play, size) in alternatives.items():
        begun = time.perf_counter()
        sound = play()
        rows[name] = _row(piece, sound, time.perf_counter() - begun, size)
    return rows


def _row(piece: Piece, sound: np.ndarray, seconds: float, size: float) -> dict:
    speed = len(piece.target) / SAMPLE_RATE / seconds
    return {**measure(piece.target, sound, piece.onsets), "times_real_time": speed, "megabytes": size / 1e6}


def _size(path: Path) -> float:
    """Return the bytes of a file, or of all files in a folder."""
    return float(sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file()))


def alternatives_table(rows: dict[str, dict]) -> str:
    """Return the alternatives as a Markdown table."""
    heads = ("", "correlation", "SNR dB", "attack LSD dB", "sustain LSD dB", "x real time", "MB on disk")
    cells = (
        [name, f"{r['correlation']:.4f}", "exact" if r["snr_db"] >= 190 else f"{r['snr_db']:.1f}",
         f"{r['attack_lsd_db']:.2f}", f"{r['sustain_lsd_db']:.2f}", f"{r['times_real_time']:.1f}",
         f"{r['megabytes']:.2f}"]
        for name, r in rows.items()
    )  # fmt: skip
    return markdown_table(heads, cells)
