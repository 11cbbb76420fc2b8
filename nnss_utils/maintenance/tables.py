"""The tables of data/results/README.md, made from committed JSON by `python -m nnss_utils.maintenance.tables`.

The JSON is made by `python -m nnss_utils.evaluation.test_set MODEL MIDI ...` (results, models), notebook 07_claims
(claims) and `make bench` (speed).
"""

from nnss_utils.evaluation.test_set import bands_table, kept_measures, pieces_table, worst_table
from nnss_utils.laboratory.claims import claims_table
from nnss_utils.maintenance import benchmarks
from nnss_utils.model.model_file import PRETRAINED
from nnss_utils.paths import KEPT_RESULTS, atomic_write, read_json

TABLES_FILE = KEPT_RESULTS / "README.md"
SPEED = KEPT_RESULTS / "benchmark.json"
CLAIMS = KEPT_RESULTS / "claims.json"


def results_table(model: dict) -> str:
    """Return the shipped model's measures of every piece (test_set.measure_pieces) as Markdown."""
    training = model["training"]
    sentence = (
        f"The shipped model: {model['parameters']:,} parameters, trained for {training['seconds'] / 60:.0f} minutes on "
        "2 CPU cores. No piece was used in training or in any choice."
    )
    return "\n".join([sentence, "", pieces_table(model), "", bands_table({PRETRAINED.stem: model})])


def speed_table(result: dict) -> str:
    """Return what `make bench` measured as Markdown, without the alternatives that were tried."""
    return benchmarks.table(result | {"parts": {name: p for name, p in result["parts"].items() if name != "tried"}})


def tables() -> dict[tuple[str, str], str]:
    """Return the tables by the marks between which they stand."""
    made = {
        "results": results_table(kept_measures()[PRETRAINED.stem]),
        "models": worst_table(kept_measures()),
        "claims": claims_table(read_json(CLAIMS)["claims"], short=True),
        "speed": speed_table(read_json(SPEED)),
    }
    return {(f"<!-- {name} -->", f"<!-- end of {name} -->"): table for name, table in made.items()}


def update_tables() -> None:
    """Put each table between its marks in TABLES_FILE."""
    text = TABLES_FILE.read_text()
    for (start, end), table in tables().items():
        before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
        text = f"{before}\n{table}\n{after}"
    with atomic_write(TABLES_FILE) as part:
        part.write_text(text)


if __name__ == "__main__":
    update_tables()
