"""Simple baselines (notebook 06), and the alternatives to a network that a user has (notebook 13)."""

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
from nnss_utils.evaluation.tables import LEVELS, WAVEFORM, measures_table
from nnss_utils.instruments.load import is_soundfont, load_instrument
from nnss_utils.model.model_file import TrainedModel, find_model
from nnss_utils.paths import CACHE

STRETCH, CROSSFADE = 30 * SAMPLE_RATE, 4096  # samples
STFT = {"n_fft": 2048, "hop_length": 512}


def griffin_lim(target: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the sound that Griffin-Lim (1984) finds for the true magnitudes of `target`, by librosa, in stretches."""

    def find(part: np.ndarray) -> np.ndarray:
        magnitudes = np.abs(librosa.stft(y=part, **STFT))
        return librosa.griffinlim(magnitudes, n_iter=32, length=len(part), random_state=seed, **STFT)

    return in_stretches(find, target)


def true_magnitude_codification_phase(target: np.ndarray, codification: np.ndarray) -> np.ndarray:
    """Return the sound of the target's magnitudes with the phase of `codification` (samples,), STFT 2048/512."""

    def combine(part: np.ndarray, code: np.ndarray) -> np.ndarray:
        phase = np.angle(librosa.stft(y=code, **STFT))
        S = np.abs(librosa.stft(y=part, **STFT)) * np.exp(1j * phase)
        return librosa.istft(S, length=len(part), **STFT)

    return in_stretches(combine, target, codification)


def in_stretches(function: Callable[..., np.ndarray], *sounds: np.ndarray) -> np.ndarray:
    """Return what `function` makes of sounds of one length, float32 (samples,), a stretch at a time. Stretches overlap
    by CROSSFADE samples, so an hour needs no more memory than a minute."""
    samples = len(sounds[0])
    out, fade = np.zeros(samples, np.float32), np.linspace(0, 1, CROSSFADE, dtype=np.float32)
    for first in range(0, max(1, samples - CROSSFADE), STRETCH):
        made = function(*(np.asarray(s[first : first + STRETCH + CROSSFADE], np.float32) for s in sounds))
        if first:
            made[:CROSSFADE] *= fade
        if first + STRETCH + CROSSFADE < samples:
            made[-CROSSFADE:] *= 1 - fade
        out[first : first + len(made)] += made
    return out


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
