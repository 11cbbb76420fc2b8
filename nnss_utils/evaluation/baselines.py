"""Simple baselines of a piece, measured beside the network (notebook 06_evaluation)."""

from collections.abc import Callable, Iterator

import librosa
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation.metrics import measure
from nnss_utils.instruments.wav import stored
from nnss_utils.paths import give_back_memory, release_pages

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
    """Return what `function` makes of sounds of one length, float32 (samples,), a stretch at a time, mapped from a file
    if it is long. Stretches overlap by CROSSFADE samples, so an hour needs no more memory than a minute."""

    def blocks() -> Iterator[np.ndarray]:
        fade, faded = np.linspace(0, 1, CROSSFADE, dtype=np.float32), 0
        for first in range(0, max(1, samples - CROSSFADE), STRETCH):
            made = function(*(np.asarray(s[first : first + STRETCH + CROSSFADE], np.float32) for s in sounds))
            if first:
                made[:CROSSFADE] = made[:CROSSFADE] * fade + faded
            if first + STRETCH + CROSSFADE < samples:
                made, faded = made[:-CROSSFADE], made[-CROSSFADE:] * (1 - fade)
            for sound in sounds:
                release_pages(sound)
            yield made

    samples = len(sounds[0])
    return stored(blocks(), samples)


def measure_sounds(
    target: np.ndarray, prediction: np.ndarray, codification: np.ndarray, onsets: np.ndarray, seed: int = 0
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Return by name all measures of the network's prediction and of each baseline, and their first half minutes.
    codification: the sound of the notes, at the target's energy; onsets: seconds (notes,)."""
    sounds = {
        "network": lambda: prediction,
        "silence": lambda: np.broadcast_to(np.float32(0), target.shape),
        "codification (at the target's energy)": lambda: codification,
        "true magnitudes, codification's phase": lambda: true_magnitude_codification_phase(target, codification),
        "Griffin-Lim on the true magnitudes": lambda: griffin_lim(target, seed),
    }
    rows, beginnings = {}, {}
    for name, make in sounds.items():
        sound = make()
        rows[name], beginnings[name] = measure(target, sound, onsets), np.array(sound[:BEGINNING])
        give_back_memory()
    return rows, beginnings
