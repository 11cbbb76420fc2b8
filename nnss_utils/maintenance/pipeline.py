"""`make run`: from a bare machine to Bach by a network, by the notebooks 01, 05 and 06 where they are not up to date.
`make run PRETRAINED=1` uses the shipped model and runs 06 alone; `MIDI=PATH` renders a file instead of the project's
scores. A notebook is up to date if its source, the code, its parameters, the files it reads and those it wrote are the
same as after its last run."""

import argparse
import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import papermill

from nnss_utils.errors import InputError, exit_with
from nnss_utils.evaluation.tables import claim_name, print_report, result_file
from nnss_utils.paths import PRETRAINED, RENDERS, RESULTS, ROOT, RUNS, read_json, relative, run_file, write_json
from nnss_utils.scores import SCORES, read_notes

NOTEBOOKS = ROOT / "notebooks"
QUIET = ["--IPKernelApp.log_level=CRITICAL"]  # not the tracebacks of an interrupted kernel
OUTPUT = RUNS / "notebooks"
MODEL = "modal"  # the name of 05's default


@dataclass(frozen=True)
class Step:
    """One run of a notebook: its parameters, the files it reads and those it writes, and the name of its output."""

    notebook: str
    output: str
    parameters: tuple[tuple[str, str], ...] = ()
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of everything that decides the notebook's result, and of the files with the result."""
        digest = hashlib.sha256(repr(self.parameters).encode())
        code = sorted((ROOT / "nnss_utils").rglob("*.py"))
        for path in (NOTEBOOKS / f"{self.notebook}.ipynb", *code, *self.reads, *self.writes):
            digest.update(path.read_bytes() if path.is_file() else b"missing")
        return digest.hexdigest()

    @property
    def stamp(self) -> Path:
        """The file with the digest after the last run."""
        return OUTPUT / f"{self.output}.json"

    def is_up_to_date(self) -> bool:
        """Return whether nothing has changed since the last run, its results included."""
        return self.stamp.is_file() and read_json(self.stamp).get("digest") == self.digest

    def run(self) -> None:
        """Run the notebook by papermill unless it is up to date; raises `InputError` if it fails."""
        source, made = NOTEBOOKS / f"{self.notebook}.ipynb", OUTPUT / f"{self.output}.ipynb"
        if self.is_up_to_date():
            print(f"{relative(made)} is up to date")
            return
        OUTPUT.mkdir(parents=True, exist_ok=True)
        words = [word for name, value in self.parameters for word in ("-p", name, value)]
        print(f"$ {shlex.join(['papermill', source.name, str(made), *words])}", flush=True)
        try:  # relative paths, since the notebook keeps them
            places = (os.path.relpath(path) for path in (source, made))
            papermill.execute_notebook(
                *places, dict(self.parameters), cwd=os.path.relpath(NOTEBOOKS), extra_arguments=QUIET
            )
        except papermill.PapermillExecutionError as error:
            where = "" if error.ename == InputError.__name__ else f"{relative(made)} failed: {error.ename}: "
            raise InputError(f"{where}{error.evalue}") from None
        if missing := [relative(path) for path in self.writes if not path.is_file()]:
            raise InputError(f"{relative(made)} ended, but {missing[0]} is not there; is another checkout installed?")
        write_json(self.stamp, {"digest": self.digest})


def steps(midis: Sequence[str], pretrained: bool) -> list[Step]:
    """Return the steps to the rendered pieces: pair and training, unless `pretrained`, and a rendering of each."""
    model, file = (PRETRAINED.stem, PRETRAINED) if pretrained else (MODEL, run_file(MODEL))
    made, names = [], {midi: claim_name(midi) for midi in midis}
    for midi in midis:
        name = names[midi]
        sounds = (RENDERS / name / kind for kind in ("prediction.wav", "target.wav", "spectrograms.png"))
        path = os.path.relpath(Path(midi).expanduser(), NOTEBOOKS) if Path(midi).expanduser().is_file() else midi
        parameters = (("midi", path), ("model", model), ("name", name))
        made.append(
            Step(
                "06_evaluation", f"06_{name}", parameters, (file, Path(midi).expanduser()), (*sounds, result_file(name))
            )
        )
    if pretrained:
        return made
    pair, run = (RENDERS / "pair" / "scale.mid", RENDERS / "pair" / "scale.wav"), RUNS / MODEL
    training = Step("05_train", "05_train", writes=(file, run / "training.json", run / "loss.png"))
    return [Step("01_codification", "01_codification", writes=pair), training, *made]


def main(arguments: list[str]) -> None:
    """Run the steps, then print the measures and where everything is."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.maintenance.pipeline", description=__doc__)
    parser.add_argument("--pretrained", action="store_true", help="use the shipped model")
    parser.add_argument("midi", nargs="*", help="MIDI files or scores to render; without any: the project's two scores")
    chosen = parser.parse_args(arguments)
    midis = chosen.midi or list(SCORES)
    for midi in midis:
        read_notes(midi)  # a bad file is reported before the training
    for step in steps(midis, chosen.pretrained):
        step.run()
    print_report([claim_name(midi) for midi in midis])
    if not chosen.pretrained:
        print(f"model: {relative(run_file(MODEL))}; its loss curve: {relative(RUNS / MODEL / 'loss.png')}")
        print(f"training pair: {relative(RENDERS / 'pair' / 'scale.mid')}, {relative(RENDERS / 'pair' / 'scale.wav')}")
    print(f"notebooks with all results: {relative(OUTPUT)}; measures: {relative(RESULTS)}")


if __name__ == "__main__":
    exit_with(main)
