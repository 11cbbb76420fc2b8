"""A piece rendered by a network and by its instrument, compared by measures (notebook 06_evaluation)."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnss_utils import metrics
from nnss_utils.codification import codify_mix
from nnss_utils.errors import InputError
from nnss_utils.instrument import grid_of, load_instrument, on_grid
from nnss_utils.midi import Note, read_midi
from nnss_utils.modelfile import TrainedModel
from nnss_utils.pair import read_target
from nnss_utils.paths import RENDERS, RESULTS, safe_name, shown, write_json
from nnss_utils.provenance import made_with
from nnss_utils.scores import SCORES
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.synthesis import render
from nnss_utils.wav import write_wav


@dataclass(frozen=True)
class Piece:
    """A piece with its sounds, float32 (samples,) of one length and scale, and how long the network took (s)."""

    name: str
    notes: tuple[Note, ...]
    target: np.ndarray
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


def read_notes(midi: str) -> list[Note]:
    """Return the notes of a MIDI file, or of one of the project's own scores: its name, or "NAME@VELOCITY"."""
    score, _, velocity = str(midi).partition("@")
    if score not in SCORES:
        return read_midi(midi)
    if not velocity:
        return SCORES[score]()
    if not velocity.isdigit() or not 1 <= int(velocity) <= 127:
        raise InputError(f'midi={midi!r}: the velocity must be 1 to 127, as in "{score}@64"')
    return SCORES[score](int(velocity))


def piece_name(midi: str, name: str = "") -> str:
    """Return the name a piece is kept under: `name`, or that of its MIDI file."""
    return safe_name(name or "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(str(midi)).stem))


def make_piece(midi: str, model: TrainedModel, name: str = "", wav: str = "", output: str = "16-bit") -> Piece:
    """Render a piece with the network and its instrument, write both as WAV and return all.

    The target is what the model's instrument plays, or the recording `wav`. The prediction is written as soon as
    it is made; a peak of either above 1 then scales both. Raises `InputError` for bad input.
    """
    name = piece_name(midi, name)
    notes = read_notes(midi)
    played = playable(model.instrument) and not wav
    notes = on_grid(notes, grid_of(model.instrument) if played else 1)
    recording = read_target(wav, notes, model.training["late"]) if wav else None
    begun = time.perf_counter()
    prediction = render(notes, model)
    seconds = time.perf_counter() - begun
    written = write_wav(RENDERS / name / "prediction.wav", prediction, output)
    print(f"{shown(written.path)}: {len(prediction) / SAMPLE_RATE:.1f} s of sound in {seconds:.1f} s")
    if not played and recording is None:
        raise InputError(
            f"{written.path} is ready, but model {model.name!r} learnt from an {model.instrument}, which can't be "
            "played here: to measure it give wav=PATH, the same instrument's recording of this piece"
        )
    target = recording if recording is not None else load_instrument(model.instrument).render(notes)
    samples = max(len(target), len(prediction))
    sounds = [np.pad(x, (0, samples - len(x))) for x in (target, prediction)]
    peak = max(float(np.abs(x).max()) for x in sounds)
    if peak > 1:
        print(f"{name}: peak {peak:.2f} is above 1; target and prediction scaled by {-20 * np.log10(peak):.1f} dB")
        sounds = [x / np.float32(peak) for x in sounds]
    code = codify_mix(notes, samples, model.settings.codification, model.tuning)
    piece = Piece(name, tuple(notes), sounds[0], sounds[1], code, seconds)
    for kind, sound in (("target", piece.target), ("prediction", piece.prediction)):
        write_wav(piece.folder / f"{kind}.wav", sound, output)
    return piece


def playable(instrument: str) -> bool:
    """Return whether an instrument's name stands for one that can play, not for a recording."""
    return not instrument.startswith("own recording")


def reference_sounds(piece: Piece, seed: int = 0) -> dict[str, np.ndarray]:
    """Return what a prediction is to be compared with, by name; each float32 (samples,)."""
    loudness = np.linalg.norm(piece.target) / max(np.linalg.norm(piece.codification), 1e-9)
    return {
        "silence": np.zeros_like(piece.target),
        "codification (at the target's energy)": (piece.codification * loudness).astype(np.float32),
        "true magnitudes, codification's phase": metrics.true_magnitude_codification_phase(
            piece.target, piece.codification
        ),
        "Griffin-Lim on the true magnitudes": metrics.griffin_lim(piece.target, seed),
    }


def measure_references(piece: Piece, references: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return all measures of each reference sound, by name."""
    return {name: metrics.measure(piece.target, sound, piece.onsets) for name, sound in references.items()}


def evaluate(piece: Piece, model: TrainedModel, references: dict[str, dict]) -> dict:
    """Measure a piece, write data/results/evaluation/NAME.json and return what it says."""
    result = {
        **metrics.measure(piece.target, piece.prediction, piece.onsets),
        "seconds": len(piece.target) / SAMPLE_RATE,
        "synthesis_seconds": piece.synthesis_seconds,
        "peak_memory_mb": peak_memory_mb(),
        "model": model.name,
        "parameters": {"count": model.network.count_params(), **model.settings.to_dict()},
        "training": model.training,
        "references": references,
        **made_with(piece.notes, piece.target),
    }
    write_json(result_file(piece.name), result)
    return result


def result_file(name: str) -> Path:
    """Return where the measures of a piece are kept."""
    return RESULTS / "evaluation" / f"{name}.json"


def peak_memory_mb() -> float:
    """Return the most memory this process has held so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def band_table(results: dict[str, dict]) -> str:
    """Return complex SNR and level of several results in each octave as a Markdown table."""
    first = next(iter(results.values()))
    heads = [f"{b['low_hz']}-{b['high_hz']} Hz" for b in first["bands"]]
    lines = ["| SNR / level / LSD, dB | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, result in results.items():
        cells = [f"{b['snr_db']:.1f} / {b['level_db']:+.1f} / {b['lsd_db']:.1f}" for b in result["bands"]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary_table(results: dict[str, dict]) -> str:
    """Return the whole-band measures of several results as a Markdown table."""
    lines = [
        "| | correlation | SNR dB | bandwidth Hz | attack LSD dB | sustain LSD dB | multi-scale loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        lines.append(
            f"| {name} | {r['correlation']:.4f} | {r['snr_db']:.1f} | {r['bandwidth_hz']:.0f} | "
            f"{r['attack_lsd_db']:.2f} | {r['sustain_lsd_db']:.2f} | {r['multi_scale_loss']:.3f} |"
        )
    return "\n".join(lines)
