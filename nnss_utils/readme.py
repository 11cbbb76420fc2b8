"""The README's tables, made from committed JSON by `python -m nnss_utils.readme`.

With `keep`, the evaluation that `make run` made last is put into data/results/bach.json first.
"""

import sys

from nnss_utils.claims import claims_table
from nnss_utils.paths import ROOT, read_json, write_json
from nnss_utils.scores import SCORES

RESULTS_MARKS = "<!-- results -->", "<!-- end of results -->"
CLAIMS_MARKS = "<!-- claims -->", "<!-- end of claims -->"
KEPT = ROOT / "data" / "results" / "bach.json"
CLAIMS = ROOT / "data" / "results" / "claims.json"
MEASURES = ("correlation", "snr_db", "bandwidth_hz", "bands", "attack_lsd_db", "sustain_lsd_db", "multi_scale_loss")
GRIFFIN_LIM = "Griffin-Lim on the true magnitudes"
TITLES = {"bwv847_fugue": "BWV 847, fugue subject", "bwv846_prelude": "BWV 846, prelude"}


def keep_results() -> None:
    """Copy what the README tells of the last evaluation of the project's scores into data/results/bach.json."""
    kept = {}
    for score in SCORES:
        result = read_json(ROOT / "data" / "results" / "evaluation" / f"{score}.json")
        rows = {"network": result, **result["references"]}
        kept[score] = {
            "rows": {name: {key: row[key] for key in MEASURES} for name, row in rows.items()},
            **{
                key: result[key]
                for key in ("seconds", "synthesis_seconds", "model", "parameters", "training", "versions")
            },
        }
    write_json(KEPT, kept)


def results_table() -> str:
    """Return the table of results as Markdown."""
    kept = read_json(KEPT)
    training = next(iter(kept.values()))["training"]
    lines = [
        f"Trained for {training['steps']} steps in {training['seconds'] / 60:.1f} minutes on 2 CPU cores "
        f"({training['parameters']:,} parameters); neither piece was seen in training.",
        "",
        "| | correlation | SNR | bandwidth | attack LSD | sustain LSD | x real time |",
        "|---|---|---|---|---|---|---|",
    ]
    for score, result in kept.items():
        speed = f"{result['seconds'] / result['synthesis_seconds']:.1f}"
        for name, title in (
            ("network", f"**{TITLES[score]}: network**"),
            (GRIFFIN_LIM, "Griffin-Lim, true magnitudes"),
        ):
            row = result["rows"][name]
            lines.append(
                f"| {title} | {row['correlation']:.4f} | {row['snr_db']:.1f} dB | {row['bandwidth_hz'] / 1000:.1f} kHz "
                f"| {row['attack_lsd_db']:.2f} dB | {row['sustain_lsd_db']:.2f} dB "
                f"| {speed if name == 'network' else ''} |"
            )
    bands = next(iter(kept.values()))["rows"]["network"]["bands"]
    heads = [f"{band['low_hz']:g}-{band['high_hz']:g}" for band in bands]
    lines += [
        "",
        "| complex SNR / level, dB, by band in Hz | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for score, result in kept.items():
        cells = [f"{b['snr_db']:.1f} / {b['level_db']:+.1f}" for b in result["rows"]["network"]["bands"]]
        lines.append(f"| {TITLES[score]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts_table() -> str:
    """Return the table of claims and verdicts as Markdown."""
    return claims_table(read_json(CLAIMS)["claims"], short=True)


def tables() -> dict[tuple[str, str], str]:
    """Return the README's tables by the marks they stand between."""
    return {RESULTS_MARKS: results_table(), CLAIMS_MARKS: verdicts_table()}


def update_readme() -> None:
    """Put each table between its marks in README.md."""
    path = ROOT / "README.md"
    text = path.read_text()
    for (start, end), table in tables().items():
        before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
        text = f"{before}\n{table}\n{after}"
    path.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["keep"]:
        keep_results()
    update_readme()
