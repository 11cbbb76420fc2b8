"""Simple baselines of a piece, measured beside the network (notebook 06_evaluation). Nothing here imports TensorFlow:
measuring has a process of its own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import librosa
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation.metrics import measure
from nnss_utils.paths import CACHE, give_back_memory, release_pages

STRETCH, CROSSFADE = 10 * SAMPLE_RATE, 4096  # samples
BEGINNING = 30 * SAMPLE_RATE  # samples, for players
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


def measure_sounds(
    target: np.ndarray, prediction: np.ndarray, codification: np.ndarray, onsets: np.ndarray, seed: int = 0
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Return by name all measures of the network's prediction and of each baseline, and their first half minutes.
    codification: the sound of the notes, at the target's energy; onsets: seconds (notes,). Made in a new process, whose
    memory ends with it: a kernel that has rendered a long piece is large already."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE) as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        files = [Path(folder, f"{name}.npy") for name in ("target", "prediction", "codification")]
        for file, sound in zip(files, (target, prediction, codification), strict=True):
            np.save(file, sound, allow_pickle=False)
            release_pages(sound)
        give_back_memory()
        return pool.submit(_measured, files, onsets, seed).result()


def _measured(files: list[Path], onsets: np.ndarray, seed: int) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    target, prediction, code = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
    sounds = {
        "network": lambda _: prediction,
        "silence": np.zeros_like,
        "codification (at the target's energy)": lambda _: code,
        "true magnitudes, codification's phase": lambda y: true_magnitude_codification_phase(y, code),
        "Griffin-Lim on the true magnitudes": lambda y: griffin_lim(y, seed),
    }
    rows, beginnings = {}, {}
    for name, make in sounds.items():
        sound = make(target)
        rows[name], beginnings[name] = measure(target, sound, onsets), np.array(sound[:BEGINNING])
        for array in (target, prediction, code):
            release_pages(array)
        give_back_memory()
    return rows, beginnings
