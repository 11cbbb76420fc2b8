"""The test set: many pieces measured by one network, for data/results and notebook 13_attacks_and_alternatives, and the
alternatives to a network that a user has. `python -m nnss_utils.evaluation.test_set MODEL [MIDI ...]` renders the
project's scores and the given MIDI files by the model and by its instrument, and keeps all measures in
data/results/pieces/MODEL.json."""

import json
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, exit_with, progress_bar
from nnss_utils.evaluation.baselines import griffin_lim
from nnss_utils.evaluation.metrics import OCTAVES, bandwidth_hz, measure
from nnss_utils.evaluation.piece import Piece, at_energy_of, codify_mix, make_piece
from nnss_utils.evaluation.single_notes import single_notes
from nnss_utils.evaluation.tables import LEVELS, WAVEFORM, markdown_table, measures_table, piece_name
from nnss_utils.instruments.load import can_play, is_soundfont, load_instrument
from nnss_utils.model.model_file import TrainedModel, find_model, load_model
from nnss_utils.paths import COMMITTED_RESULTS, RESULTS, read_json, relative, write_json
from nnss_utils.provenance import commit, data_digests, versions
from nnss_utils.scores import SCORES
from nnss_utils.synthesis.voice import key_of

FOLDER = RESULTS / "pieces"
FAINT_DB = 85.0  # below a target's strongest band: includes every band of a piano up to 20 kHz


def measure_pieces(model: TrainedModel, midis: list[str]) -> dict:
    """Return the measures of each piece (a MIDI file's path or a score's name), and keep them by the model's name.
    limit_hz: the bandwidth of a perfect prediction; faint_bandwidth_hz: the bandwidth with bands down to FAINT_DB."""
    rows, instrument = {}, Path(model.instrument).name
    for midi in progress_bar(midis, desc=f"pieces by {model.name}", unit="piece"):
        name = piece_name(midi)
        piece = make_piece(midi, model, f"{name}_{model.name}")
        rows[name] = {
            **measure(piece.target, piece.prediction, piece.onsets),
            "limit_hz": bandwidth_hz(piece.target, piece.target),
            "faint_bandwidth_hz": bandwidth_hz(piece.target, piece.prediction, FAINT_DB),
            "griffin_lim": _griffin_lim(name, piece, instrument), "notes": len(piece.notes),
            "distinct": len({key_of(note) for note in piece.notes}),
            "velocities": [f(note.velocity for note in piece.notes) for f in (min, max)],
            "seconds": len(piece.target) / SAMPLE_RATE, "synthesis_seconds": piece.synthesis_seconds,
            "data": data_digests(piece.notes, piece.target),
        }  # fmt: skip
    training = model.training | {"pair": model.training["pair"].replace(model.instrument, instrument)}
    result = {
        "model": model.name, "instrument": instrument, "parameters": model.network.count_params(),
        "settings": model.settings.to_dict(), "training": training, "pieces": rows, "worst": worst(rows),
        **(single_notes(model) if can_play(model.instrument) else {}),
        "versions": versions(), "commit": commit(),
    }  # fmt: skip
    write_json(result_file(model.name), result)
    return result


def result_file(name: str) -> Path:
    """Return the file with the measures of a model's pieces."""
    return FOLDER / f"{name}.json"


def committed_measures() -> dict[str, dict]:
    """Return the committed measures of all models by name."""
    return {path.stem: read_json(path) for path in sorted((COMMITTED_RESULTS / "pieces").glob("*.json"))}


def _griffin_lim(name: str, piece: Piece, instrument: str) -> dict:
    """Return the measures of Griffin-Lim on a piece, from another model's file if that has them already."""
    others = [other for path in sorted(FOLDER.glob("*.json")) if (other := read_json(path))["instrument"] == instrument]
    for same in (other["pieces"].get(name) for other in others):
        if same and same["seconds"] == len(piece.target) / SAMPLE_RATE:
            return same["griffin_lim"]
    return measure(piece.target, griffin_lim(piece.target), piece.onsets)


def worst(rows: dict[str, dict]) -> dict:
    """Return what all pieces reach: the worst value of each measure that has a target. octave_snr_db: in octaves from
    20 Hz to 8 kHz; level_db: farthest from 0, to 16 kHz; attack_ratio: attack LSD over Griffin-Lim's."""
    bands = [[b for b in row["bands"] if b["high_hz"] <= 16000] for row in rows.values()]
    lowest = ("correlation", "snr_db", "bandwidth_hz", "limit_hz", "faint_bandwidth_hz")
    return {key: min(row[key] for row in rows.values()) for key in lowest} | {
        "octave_snr_db": min(b["snr_db"] for part in bands for b in part if b["high_hz"] <= 8000),
        "level_db": max((b["level_db"] for part in bands for b in part), key=abs),
        "attack_ratio": max(row["attack_lsd_db"] / row["griffin_lim"]["attack_lsd_db"] for row in rows.values()),
        "times_real_time": min(row["seconds"] / row["synthesis_seconds"] for row in rows.values()),
    }


def pieces_table(model: dict) -> str:
    """Return one model's measures of each piece as a Markdown table, with Griffin-Lim's attacks."""
    columns = {"length": "{seconds:.0f} s", "notes (distinct)": "{notes} ({distinct})",
               "velocities": "{velocities[0]} to {velocities[1]}", "correlation": "{correlation:.4f}",
               "SNR": "{snr_db:.1f} dB",
               "bandwidth (limit)": "{bandwidth_hz:,.0f} ({limit_hz:,.0f}) Hz",
               "attack LSD (Griffin-Lim)": "{attack_lsd_db:.2f} ({griffin_lim[attack_lsd_db]:.2f}) dB",
               "sustain LSD": "{sustain_lsd_db:.2f} dB"}  # fmt: skip
    return measures_table({name.replace("_", " "): row for name, row in model["pieces"].items()}, columns)


def worst_table(models: dict[str, dict]) -> str:
    """Return the worst piece's measures of each model as a Markdown table."""
    columns = {"training": "{minutes:.1f} min", "pieces": "{count}", **WAVEFORM,
               "octave SNR to 8 kHz, dB": "{octave_snr_db:.1f}", "level to 16 kHz, dB": "{level_db:+.2f}",
               "bandwidth / limit / faint, Hz": "{bandwidth_hz:,.0f} / {limit_hz:,.0f} / {faint_bandwidth_hz:,.0f}",
               "attack LSD over Griffin-Lim's": "{attack_ratio:.2f}"}  # fmt: skip
    rows = {
        f"{name} ({model['settings']['network']['architecture']}, {model['instrument']})": model["worst"]
        | {"minutes": model["training"]["seconds"] / 60, "count": len(model["pieces"])}
        for name, model in models.items()
    }
    return measures_table(rows, columns)


def bands_table(models: dict[str, dict]) -> str:
    """Return the lowest SNR and the level farthest from 0 over all pieces, by octave and model, as Markdown."""
    heads = [f"{low:g}-{high:g}" for low, high in pairwise(OCTAVES)]
    cells = {
        name: [
            f"{min(b['snr_db'] for b in octave):.1f} / {max((b['level_db'] for b in octave), key=abs):+.2f}"
            for octave in zip(*(row["bands"] for row in model["pieces"].values()), strict=True)
        ]
        for name, model in models.items()
    }
    return markdown_table(["lowest SNR / farthest level, dB", *heads], ([name, *row] for name, row in cells.items()))


def notes_tables(model: dict) -> str:
    """Return one model's SNR of single notes as Markdown: at each velocity, and at each duration by register."""
    velocities, durations = model["velocities"], model["durations"]
    first = markdown_table(
        ["velocity", *velocities], [["SNR, dB", *(f"{r['snr_db']:.1f}" for r in velocities.values())]]
    )
    rows = [["all keys", *(f"{r['snr_db']:.1f}" for r in durations.values())]]
    for number, (low, _) in enumerate(next(iter(durations.values()))["registers"]):
        rows.append([f"octave from {low}", *(f"{r['registers'][number][1]:.1f}" for r in durations.values())])
    return first + "\n\n" + markdown_table(["SNR, dB, of notes held, s", *durations], rows)


def measure_alternatives(piece: Piece, model: TrainedModel, path: str) -> dict[str, dict]:
    """Return by name the measures, the speed (times real time) and the size on disk (MB) of each way to play a piece.
    `model`, of the file or name `path`, renders the piece. The alternatives: the sampler, as a user runs it;
    Griffin-Lim on the true magnitudes; the codification at the target's energy."""
    instrument = load_instrument(model.instrument)
    if is_soundfont(model.instrument):
        title, play, source = "fluidsynth, the same SoundFont", instrument.perform, Path(model.instrument)
    else:
        title, play, source = "sampler, the same recordings", instrument.render, instrument.folder
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


def main(arguments: list[str]) -> None:
    """Measure the project's scores and the given MIDI files, by the given model."""
    if not arguments:
        raise InputError("no model given; usage: python -m nnss_utils.evaluation.test_set MODEL [MIDI ...]")
    result = measure_pieces(load_model(arguments[0]), [*SCORES, *arguments[1:]])
    for name, value in result["worst"].items():
        print(f"worst {name}: {value:.4g}")
    print(f"written: {relative(result_file(result['model']))}")


if __name__ == "__main__":
    exit_with(main)
