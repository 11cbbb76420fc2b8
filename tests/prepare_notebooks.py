"""Write the notebooks with their fast parameters into a folder, for nbval: `prepare_notebooks.py build/notebooks`."""

import json
import shutil
import sys
from pathlib import Path

import papermill

ROOT = Path(__file__).resolve().parent.parent


def fast_parameters() -> dict[str, dict]:
    """Return, for each notebook's stem, the parameters that make it fast."""
    return json.loads((ROOT / "tests" / "fast.json").read_text())


def prepare(folder: Path) -> None:
    """Put every notebook with its fast parameters injected, not executed, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for stem, parameters in fast_parameters().items():
        source, target = ROOT / "notebooks" / f"{stem}.ipynb", folder / f"{stem}.ipynb"
        papermill.execute_notebook(source, target, parameters, prepare_only=True, progress_bar=False)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
