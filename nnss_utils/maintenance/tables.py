"""`python -m nnss_utils.maintenance.tables`: write the tables of data/results/README.md from committed JSON.
evaluation.test_set makes the JSON of results and models, notebook 07_claims of claims, and `make bench` of speed."""

from collections.abc import Callable

from nnss_utils.evaluation.test_set import bands_table, committed_measures, notes_tables, pieces_table, worst_table
from nnss_utils.laboratory.claims import claims_table
from nnss_utils.maintenance import benchmarks
from nnss_utils.paths import COMMITTED_RESULTS, IMAGES, PRETRAINED, atomic_write, read_json

TABLES_FILE = COMMITTED_RESULTS / "README.md"
SPEED = COMMITTED_RESULTS / "benchmark.json"
CLAIMS = COMMITTED_RESULTS / "claims.json"


def results_table(model: dict) -> str:
    """Return the shipped model's measures of every piece (test_set.measure_pieces) as Markdown."""
    training = model["training"]
    sentence = (
        f"The shipped model: {model['parameters']:,} parameters, trained for {training['seconds'] / 60:.0f} minutes on "
        "2 CPU cores. No piece was used in training; the performances were looked at while the network was designed."
    )
    tables = (pieces_table(model), bands_table({PRETRAINED.stem: model}), notes_tables(model))
    return "\n\n".join([sentence, *tables])


# name -> (what reads its committed JSON, what shows JSON as a table)
TABLES: dict[str, tuple[Callable[[], dict], Callable[[dict], str]]] = {
    "results": (lambda: committed_measures()[PRETRAINED.stem], results_table),
    "models": (committed_measures, worst_table),
    "claims": (lambda: read_json(CLAIMS), lambda content: claims_table(content["claims"], short=True)),
    "speed": (lambda: read_json(SPEED), benchmarks.table),
}


def tables() -> dict[tuple[str, str], str]:
    """Return the tables by the marks between which they stand."""
    return {(f"<!-- {name} -->", f"<!-- end of {name} -->"): show(read()) for name, (read, show) in TABLES.items()}


if __name__ == "__main__":
    text = TABLES_FILE.read_text()
    for (start, end), table in tables().items():
        text = f"{text.split(start)[0]}{start}\n{table}\n{end}{text.split(end)[1]}"
    with atomic_write(TABLES_FILE) as part:
        part.write_text(text)
    from nnss_utils.notebook import charts, plots  # the tables need no matplotlib

    figure, _ = charts.single_notes(committed_measures()[PRETRAINED.stem])
    plots.save_figure(figure, IMAGES / "single_notes.png")
