"""The README's tables, made from committed JSON by `python -m nnss_utils.readme`.

The JSON is made by `python -m nnss_utils.pieces MODEL MIDI ...` (results), notebook 07_claims (claims) and `make bench`
(speed).
"""

from nnss_utils import benchmark, pieces
from nnss_utils.claims import claims_table
from nnss_utils.modelfile import PRETRAINED
from nnss_utils.paths import ROOT, read_json

RESULTS_MARKS = "<!-- results -->", "<!-- end of results -->"
MODELS_MARKS = "<!-- models -->", "<!-- end of models -->"
CLAIMS_MARKS = "<!-- claims -->", "<!-- end of claims -->"
SPEED_MARKS = "<!-- speed -->", "<!-- end of speed -->"
SPEED = ROOT / "data" / "results" / "benchmark.json"
CLAIMS = ROOT / "data" / "results" / "claims.json"


def results_table(model: dict) -> str:
    """Return the shipped model's measures of every piece (pieces.measure_pieces) as Markdown."""
    training = model["training"]
    said = (
        f"The model that comes with the project: {model['parameters']:,} parameters, trained for "
        f"{training['seconds'] / 60:.0f} minutes on 2 CPU cores. No piece was seen in training, or chosen by."
    )
    return "\n".join([said, "", pieces.pieces_table(model), "", pieces.bands_table({PRETRAINED.stem: model})])


def models_table() -> str:
    """Return the worst piece's measures of every model as Markdown."""
    return pieces.worst_table(pieces.kept())


def verdicts_table(result: dict) -> str:
    """Return what notebook 07_claims wrote as a table of claims and verdicts in Markdown."""
    return claims_table(result["claims"], short=True)


def speed_table(result: dict) -> str:
    """Return what `make bench` measured as Markdown, without the ways that were tried."""
    measured = {name: part for name, part in result["parts"].items() if name != "tried"}
    return benchmark.table(result | {"parts": measured})


def tables() -> dict[tuple[str, str], str]:
    """Return the README's tables by the marks they stand between."""
    return {
        RESULTS_MARKS: results_table(pieces.kept()[PRETRAINED.stem]),
        MODELS_MARKS: models_table(),
        CLAIMS_MARKS: verdicts_table(read_json(CLAIMS)),
        SPEED_MARKS: speed_table(read_json(SPEED)),
    }


def update_readme() -> None:
    """Put each table between its marks in README.md."""
    path = ROOT / "README.md"
    text = path.read_text()
    for (start, end), table in tables().items():
        before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
        text = f"{before}\n{table}\n{after}"
    path.write_text(text)


if __name__ == "__main__":
    update_readme()
