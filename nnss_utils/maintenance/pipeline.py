"""`make run`: from a bare machine to Bach by a network, by the notebooks 01, 05 and 06 where they are not up to date.

`make run PRETRAINED=1` uses the shipped model and runs 06 alone; `MIDI=PATH` renders a file of the user's instead of
the project's scores. A notebook is up to date if its source, the code, its parameters and the files it reads are the
same as at its last run, and the files that it wrote exist.
"""

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnss_utils.errors import InputError
from nnss_utils.evaluation.piece import piece_name, print_report, result_file
from nnss_utils.model.model_file import PRETRAINED, run_file
from nnss_utils.paths import RENDERS, RESULTS, ROOT, RUNS, read_json, relative, write_json
from nnss_utils.scores import SCORES

NOTEBOOKS = ROOT / "notebooks"
OUTPUT = RUNS / "notebooks"
MODEL = "mask_keyed"  # the name of 05's default


@dataclass(frozen=True)
class Step:
    """One run of a notebook: its parameters, the files it reads and those it writes, and the name of its output."""

    notebook: str
    output: str
    parameters: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of everything that decides the notebook's result."""
        digest = hashlib.sha256(repr(self.parameters).encode())
        code = sorted((ROOT / "nnss_utils").rglob("*.py"))
        for path in (NOTEBOOKS / f"{self.notebook}.ipynb", *code, *self.reads):
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    @property
    def stamp(self) -> Path:
        """Where the digest of the last run is kept."""
        return OUTPUT / f"{self.output}.json"

    def is_up_to_date(self) -> bool:
        """Return whether nothing has changed since the last run and its files exist."""
        if not self.stamp.is_file() or not all(path.is_file() for path in self.writes):
            return False
        return read_json(self.stamp).get("digest") == self.digest

    def run(self) -> None:
        """Run the notebook by papermill unless it is up to date; raises `InputError` if it fails."""
        made = OUTPUT / f"{self.output}.ipynb"
        if self.is_up_to_date():
            print(f"{relative(made)} is up to date")
            return
        OUTPUT.mkdir(parents=True, exist_ok=True)
        words = [word for name, value in self.parameters for word in ("-p", name, value)]
        print(f"$ papermill {self.notebook}.ipynb {relative(made)} {' '.join(words)}".rstrip(), flush=True)
        papermill = str(Path(sys.executable).parent / "papermill")
        done = subprocess.run([papermill, f"{self.notebook}.ipynb", str(made), *words], cwd=NOTEBOOKS)
        if done.returncode:
            raise InputError(f"notebook {self.notebook} failed (its error is above); its output is {relative(made)}")
        write_json(self.stamp, {"digest": self.digest})


def steps(midis: Sequence[str], pretrained: bool) -> list[Step]:
    """Return the steps from nothing to the rendered pieces."""
    model, file = (PRETRAINED.stem, PRETRAINED) if pretrained else (MODEL, run_file(MODEL))
    pair = RENDERS / "pair"
    first = [
        Step("01_codification", "01_codification", writes=(pair / "scale.mid", pair / "scale.wav")),
        Step("05_train", "05_train", writes=(file, RUNS / MODEL / "training.json", RUNS / MODEL / "loss.png")),
    ]
    return [*([] if pretrained else first), *(_rendering(midi, model, file) for midi in midis)]


def _rendering(midi: str, model: str, file: Path) -> Step:
    """Return the step that renders and measures a piece."""
    name = piece_name(midi)
    folder = RENDERS / name
    written = *(folder / f"{kind}.wav" for kind in ("prediction", "target")), folder / "spectrograms.png"
    parameters = (("midi", midi if midi in SCORES else str(Path(midi).resolve())), ("model", model), ("name", name))
    return Step("06_evaluation", f"06_{name}", parameters, (file, Path(midi)), (*written, result_file(name)))


def main(arguments: list[str]) -> None:
    """Run the steps, then print the measures and where everything is."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.maintenance.pipeline", description=__doc__)
    parser.add_argument("--pretrained", action="store_true", help="use the shipped model")
    parser.add_argument("midi", nargs="*", help="MIDI files to render instead of the project's two scores")
    chosen = parser.parse_args(arguments)
    midis = chosen.midi or list(SCORES)
    for midi in midis:
        if midi not in SCORES and not Path(midi).is_file():
            raise InputError(f"MIDI file {midi} does not exist; give the path of a .mid file")
    for step in steps(midis, chosen.pretrained):
        step.run()
    print_report([piece_name(midi) for midi in midis])
    if not chosen.pretrained:
        print(f"model: {relative(run_file(MODEL))}; its loss curve: {relative(RUNS / MODEL / 'loss.png')}")
        print(f"training pair: {relative(RENDERS / 'pair' / 'scale.mid')}, {relative(RENDERS / 'pair' / 'scale.wav')}")
    print(f"notebooks with all results: {relative(OUTPUT)}; measures: {relative(RESULTS)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
