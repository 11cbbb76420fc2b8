"""Markdown tables."""

from collections.abc import Iterable, Mapping, Sequence

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
