"""Run every notebook with its defaults in place; keep figures and text, drop sounds and widgets (`make notebooks`)."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOISE = (
    "metadata.papermill cell.metadata.papermill cell.metadata.execution metadata.language_info.version metadata.widgets"
)
STRIP = ["--max-size", "250k", "--keep-count", "--keep-id", "--extra-keys", NOISE]


WIDGET = "application/vnd.jupyter.widget-view+json"


def stilled(output: dict) -> dict:
    """Return an output as a page without a kernel shows it, pictures in 256 colours.

    A widget that has a picture of itself is this picture.
    """
    data = output.get("data", {})
    if "image/png" in data:
        data.pop(WIDGET, None)
        data["image/png"] = small_picture(data["image/png"])
    return output


def small_picture(encoded: str) -> str:
    """Return a PNG (base64) with at most 256 colours if that makes it smaller: half the size of most figures."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return min(base64.b64encode(buffer.getvalue()).decode(), encoded, key=len)


def is_heard(output: dict) -> bool:
    """Return whether an output is a player or a widget: nothing that a repository's page can show."""
    data = output.get("data", {})
    return "<audio" in str(data.get("text/html", "")) or WIDGET in data


def execute(path: Path) -> None:
    """Run a notebook in a fresh kernel and write it back whole, its players and progress bars left out."""
    done = path.with_name(f".{path.stem}.part.ipynb")
    try:
        papermill.execute_notebook(path, done, progress_bar=True, cwd=ROOT / "notebooks")
        notebook = nbformat.read(done, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                outputs = map(stilled, cell.outputs)
                cell.outputs = [output for output in outputs if not is_heard(output) and output.get("name") != "stderr"]
        nbformat.write(notebook, done)
        subprocess.run([Path(sys.executable).parent / "nbstripout", *STRIP, done], check=True)
        done.replace(path)
    finally:
        done.unlink(missing_ok=True)


if __name__ == "__main__":
    chosen = sys.argv[1:] or sorted(str(p) for p in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for name in chosen:
        execute(Path(name))
