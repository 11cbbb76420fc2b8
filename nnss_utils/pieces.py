"""Many pieces measured by one network, for the README and notebook 08_full_bandwidth.

    python -m nnss_utils.pieces MODEL [MIDI ...]

renders the project's two scores and every MIDI file given by the model and by its instrument, and keeps all
measures in data/results/pieces/MODEL.json.
"""

import sys
from itertools import pairwise
from pathlib import Path

from tqdm.auto import tqdm

from nnss_utils import evaluation, metrics
from nnss_utils.errors import InputError
from nnss_utils.modelfile import TrainedModel, load_model
from nnss_utils.paths import RESULTS, ROOT, read_json, shown, write_json
from nnss_utils.provenance import commit, data_digests, versions
from nnss_utils.scores import SCORES

FOLDER = RESULTS / "pieces"
FAINT_DB = 85.0  # below a target's strongest band: deeper than every band of a piano up to 20 kHz


def measure_pieces(model: TrainedModel, midis: list[str]) -> dict:
    """Return the measures of each piece (a MIDI file's path or a score's name), and keep them by the model's name.

    Beside those of evaluation.evaluate: `limit_hz`, the bandwidth that a perfect prediction would have;
    `faint_bandwidth_hz`, the bandwidth with bands down to FAINT_DB; Griffin-Lim on the true magnitudes.
    """
    rows, instrument = {}, Path(model.instrument).name
    for midi in tqdm(midis, desc=f"pieces by {model.name}", unit="piece"):
        name = evaluation.piece_name(midi)
        piece = evaluation.make_piece(midi, model, f"{name}_{model.name}")
        rows[name] = {
            **metrics.measure(piece.target, piece.prediction, piece.onsets),
            "limit_hz": metrics.bandwidth_hz(piece.target, piece.target),
            "faint_bandwidth_hz": metrics.bandwidth_hz(piece.target, piece.prediction, FAINT_DB),
            "griffin_lim": _griffin_lim(name, piece, instrument),
            "notes": len(piece.notes),
            "seconds": len(piece.target) / metrics.SAMPLE_RATE,
            "synthesis_seconds": piece.synthesis_seconds,
            "data": data_digests(piece.notes, piece.target),
        }
    result = {
        "model": model.name,
        "instrument": instrument,
        "parameters": model.network.count_params(),
        "settings": model.settings.to_dict(),
        "training": model.training | {"pair": model.training["pair"].replace(model.instrument, instrument)},
        "pieces": rows,
        "worst": worst(rows),
        "versions": versions(),
        "commit": commit(),
    }
    write_json(result_file(model.name), result)
    return result


def result_file(name: str) -> Path:
    """Return where the measures of a model's pieces are kept."""
    return FOLDER / f"{name}.json"


def kept() -> dict[str, dict]:
    """Return the committed measures of all models by name."""
    return {path.stem: read_json(path) for path in sorted((ROOT / "data" / "results" / "pieces").glob("*.json"))}


def pieces_table(model: dict) -> str:
    """Return one model's measures of each piece as a Markdown table, Griffin-Lim's attacks beside them."""
    lines = [
        "| | length | correlation | SNR | bandwidth (limit) | attack LSD (Griffin-Lim) | sustain LSD | x real time |",
        "|---" * 8 + "|",
    ]
    for name, row in model["pieces"].items():
        lines.append(
            f"| {name.replace('_', ' ')} | {row['seconds']:.0f} s | {row['correlation']:.4f} | {row['snr_db']:.1f} dB "
            f"| {row['bandwidth_hz'] / 1000:.1f} ({row['limit_hz'] / 1000:.1f}) kHz "
            f"| {row['attack_lsd_db']:.2f} ({row['griffin_lim']['attack_lsd_db']:.2f}) dB "
            f"| {row['sustain_lsd_db']:.2f} dB | {row['seconds'] / row['synthesis_seconds']:.1f} |"
        )
    return "\n".join(lines)


def worst_table(models: dict[str, dict]) -> str:
    """Return the worst piece's measures of each model as a Markdown table."""
    lines = [
        "| | training | pieces | correlation | SNR dB | octave SNR to 8 kHz, dB | level to 16 kHz, dB | bandwidth / "
        "limit / faint, kHz | attack LSD over Griffin-Lim's | x real time |",
        "|---" * 10 + "|",
    ]
    for name, model in models.items():
        w, training = model["worst"], model["training"]
        widths = " / ".join(f"{w[key] / 1000:.1f}" for key in ("bandwidth_hz", "limit_hz", "faint_bandwidth_hz"))
        lines.append(
            f"| {name} ({model['settings']['network']['architecture']}, {model['instrument']}) "
            f"| {training['seconds'] / 60:.1f} min | {len(model['pieces'])} | {w['correlation']:.4f} "
            f"| {w['snr_db']:.1f} | {w['octave_snr_db']:.1f} | {w['level_db']:+.2f} | {widths} "
            f"| {w['attack_ratio']:.2f} | {w['times_real_time']:.1f} |"
        )
    return "\n".join(lines)


def bands_table(models: dict[str, dict]) -> str:
    """Return the lowest SNR and the level farthest from 0 over all pieces, by octave and model, as Markdown."""
    heads = [f"{low:g}-{high:g}" for low, high in pairwise(metrics.EDGES)]
    lines = ["| lowest SNR / farthest level, dB | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, model in models.items():
        octaves = zip(*(row["bands"] for row in model["pieces"].values()), strict=True)
        cells = [
            f"{min(b['snr_db'] for b in octave):.1f} / {max((b['level_db'] for b in octave), key=abs):+.2f}"
            for octave in octaves
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _griffin_lim(name: str, piece: evaluation.Piece, instrument: str) -> dict:
    """Return the measures of Griffin-Lim on a piece, of another model's file if that has them already."""
    for path in sorted(FOLDER.glob("*.json")):
        other = read_json(path)
        same = other["pieces"].get(name)
        if same and other["instrument"] == instrument and same["seconds"] == len(piece.target) / metrics.SAMPLE_RATE:
            return same["griffin_lim"]
    return metrics.measure(piece.target, metrics.griffin_lim(piece.target), piece.onsets)


def worst(rows: dict[str, dict]) -> dict:
    """Return what all pieces reach: the worst of each measure that a target is set for.

    octave_snr_db: in octaves from 20 Hz to 8 kHz; level_db: farthest from 0, to 16 kHz; attack_ratio: attack LSD
    over Griffin-Lim's.
    """
    bands = [[b for b in row["bands"] if b["high_hz"] <= 16000] for row in rows.values()]
    return {
        "correlation": min(row["correlation"] for row in rows.values()),
        "snr_db": min(row["snr_db"] for row in rows.values()),
        "octave_snr_db": min(b["snr_db"] for part in bands for b in part if b["high_hz"] <= 8000),
        "level_db": max((b["level_db"] for part in bands for b in part), key=abs),
        "bandwidth_hz": min(row["bandwidth_hz"] for row in rows.values()),
        "limit_hz": min(row["limit_hz"] for row in rows.values()),
        "faint_bandwidth_hz": min(row["faint_bandwidth_hz"] for row in rows.values()),
        "attack_ratio": max(row["attack_lsd_db"] / row["griffin_lim"]["attack_lsd_db"] for row in rows.values()),
        "times_real_time": min(row["seconds"] / row["synthesis_seconds"] for row in rows.values()),
    }


def main(arguments: list[str]) -> None:
    """Measure the project's scores and the MIDI files named, by the model named."""
    if not arguments:
        raise InputError("no model named; usage: python -m nnss_utils.pieces MODEL [MIDI ...]")
    result = measure_pieces(load_model(arguments[0]), [*SCORES, *arguments[1:]])
    for name, value in result["worst"].items():
        print(f"worst {name}: {value:.4g}")
    print(f"kept in {shown(result_file(result['model']))}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
