"""Measures as Markdown tables. `python -m nnss_utils.evaluation.tables NAME ...` prints those of pieces that notebook
06_evaluation has kept, as `make run` does; nothing here imports TensorFlow."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from nnss_utils.errors import exit_with
from nnss_utils.evaluation import OCTAVES
from nnss_utils.paths import RENDERS, RESULTS, ROOT, read_json, relative, safe_name, write_json
from nnss_utils.scores import SCORES

LONGEST_STEM = 80  # bytes of a file's name that are kept

# columns of measures: head -> template of the cell
WAVEFORM = {"correlation": "{correlation:.4f}", "SNR dB": "{snr_db:.1f}"}
LEVELS = {"attack LSD dB": "{attack_lsd_db:.2f}", "sustain LSD dB": "{sustain_lsd_db:.2f}"}


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells under their heads as a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def measures_table(results: Mapping[str, Mapping], columns: Mapping[str, str], corner: str = "") -> str:
    """Return results by row as a Markdown table; columns: head -> template of the cell, filled with the result."""
    rows = ([name, *(cell.format(**result) for cell in columns.values())] for name, result in results.items())
    return markdown_table([corner, *columns], rows)


def piece_name(midi: str, name: str = "") -> str:
    """Return `name`, or that of a score or MIDI file, shortened where needed."""
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(str(midi)).stem)
    return safe_name(name or stem.encode()[:LONGEST_STEM].decode(errors="ignore"))


def claim_name(midi: str, name: str = "") -> str:
    """Return the name a piece is kept under, and keep it for this file: a file that has the name of a score, or of
    another file that is kept, gets a digest of its content too."""
    path, own = Path(str(midi)).expanduser(), piece_name(midi, name)
    if name or not path.is_file():
        return own
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = {"midi": os.path.relpath(path.resolve(), ROOT), "sha256": digest}  # a folder may be moved
    kept = RENDERS / own / "source.json"
    before = read_json(kept) if kept.is_file() else {} if kept.parent.is_dir() else source
    if own in SCORES or not source.items() & before.items():
        own = f"{own}_{digest[:8]}"
    write_json(RENDERS / own / "source.json", source)
    return own


def result_file(name: str) -> Path:
    """Return the file with the measures of a piece."""
    return RESULTS / "evaluation" / f"{name}.json"


def band_table(results: dict[str, dict]) -> str:
    """Return complex SNR, level and LSD of several results in each octave as a Markdown table."""
    cell = "{{bands[{0}][snr_db]:.1f}} / {{bands[{0}][level_db]:+.1f}} / {{bands[{0}][lsd_db]:.1f}}"
    columns = {f"{low}-{high} Hz": cell.format(number) for number, (low, high) in enumerate(pairwise(OCTAVES))}
    return measures_table(results, columns, "SNR / level / LSD, dB")


def summary_table(results: dict[str, dict]) -> str:
    """Return the whole-band measures of several results as a Markdown table."""
    bandwidth = {"bandwidth Hz": "{bandwidth_hz:.0f}"}
    return measures_table(results, WAVEFORM | bandwidth | LEVELS | {"multi-scale loss": "{multi_scale_loss:.3f}"})


def print_report(names: Sequence[str]) -> None:
    """Print the measures of pieces by name, and where their sounds, pictures and measures are."""
    results = {name: read_json(result_file(name)) for name in names}
    rows = {
        f"{piece}: {row}": measures
        for piece, result in results.items()
        for row, measures in {"network": result, **result["references"]}.items()
    }
    print("", summary_table(rows), "", band_table(results), "", sep="\n")
    for name, result in results.items():
        folder = RENDERS / name
        speed = result["seconds"] / result["synthesis_seconds"]
        print(f"{name} ({result['seconds']:.0f} s, synthesized at {speed:.1f} times real time)")
        print(f"  sound     {relative(folder / 'prediction.wav')} (network), {relative(folder / 'target.wav')}")
        print("  pictures  " + ", ".join(relative(path) for path in sorted(folder.glob("*.png"))))
        print(f"  measures  {relative(result_file(name))}")


if __name__ == "__main__":
    exit_with(print_report)
