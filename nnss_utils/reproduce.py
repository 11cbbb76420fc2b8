"""The README's tables made again by the commands they name, and what differs beyond its spread (`make reproduce`).

Everything is written under build/reproduced, nothing committed is touched. As it is, the shipped model is measured
again, the default one trained and measured, the claims are judged again from the kept trainings, and the speeds
measured: 13 minutes on two cores. `--all` trains every model of the tables and every row of the claims anew: hours.
MIDI files named are added to the pieces; a piece of the table that is not there is said.
"""

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nnss_utils import pieces, readme
from nnss_utils.catalogue import ARCHITECTURES
from nnss_utils.config import Settings, make_settings
from nnss_utils.errors import InputError
from nnss_utils.modelfile import PRETRAINED, read_metadata
from nnss_utils.paths import ROOT, read_json

HOME = ROOT / "build" / "reproduced"
RESULTS = HOME / "data" / "results"
KEPT = ROOT / "data" / "results"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Spread:
    """By how much a figure may differ where a column's or a row's heading matches: at least one of the two."""

    heading: str
    absolute: float = 0.0
    relative: float = 0.0
    numbers: tuple[int, int | None] = (0, None)  # from, to: of a cell's numbers those that count


# measured alike on every machine but for the last digits, or a ratio of two things measured in one run; other times
# and speeds are the machine's own: none of their numbers counts
SPREADS = (
    Spread("over Keras|BLSTM.*product's ceiling|dense.*product's ceiling", relative=0.25, numbers=(0, 1)),
    Spread("fluidsynth", relative=0.25, numbers=(1, 2)),
    Spread("the seed's network", relative=0.25, numbers=(1, 3)),  # disk and memory
    Spread("peak memory", relative=0.25),
    Spread("difference", absolute=1e-5),
    Spread("x real time|real time$|shipped model|training|minutes|FFTs|step|memory|start|note|ceiling", numbers=(0, 0)),
    Spread("bandwidth", relative=0.27),  # a third of an octave
    Spread("correlation", absolute=0.001),
    Spread("attack LSD over", absolute=0.05),
    Spread(r"SNR|level|LSD|dB|^\d+-\d+ ", absolute=0.2),  # a band's column is headed by its edges in Hz
    Spread("why", relative=0.25),  # of the claims, where a training anew ends a little elsewhere
)


def main(arguments: list[str]) -> int:
    """Make the tables again, print what differs, and return how many figures do."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.reproduce", description=__doc__)
    parser.add_argument("--all", action="store_true", help="train everything anew")
    parser.add_argument("--tables", default=",".join(TABLES), help=f"by comma, of {', '.join(TABLES)}")
    parser.add_argument("midi", nargs="*", help="MIDI files of pieces that are in the table")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.tables.split(",") if name not in TABLES]
    if unknown:
        raise InputError(f"tables={unknown[0]!r} is unknown; choose of {', '.join(TABLES)}")
    midis, differing = [str(Path(midi).resolve()) for midi in chosen.midi], 0
    for name in chosen.tables.split(","):
        committed, made = TABLES[name](chosen.all, midis)
        found = differences(committed, made)
        print(f"\n{made}\n\n{name}: {len(numbers_of(made))} figures, {len(found)} differ by more than their spread")
        print("\n".join(f"  {line}" for line in found), flush=True)
        differing += len(found)
    return differing


def run(*command: str, folder: Path = ROOT) -> None:
    """Run a command of the README with its files under HOME; raises `InputError` if it fails."""
    print(f"$ {' '.join(command)}", flush=True)
    command = [str(Path(sys.executable).parent / "papermill") if part == "papermill" else part for part in command]
    command = [sys.executable if part == "python" else part for part in command]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "NNSS_HOME": str(HOME)})
    if done.returncode:
        raise InputError(f"{Path(command[0]).name} ended with {done.returncode}; what it said stands above")


def results(everything: bool, midis: list[str]) -> tuple[str, str]:
    """Return the shipped model's table as committed and as made now, both of the pieces that are here."""
    if everything:
        name, out, *parameters = read_metadata(PRETRAINED)["training"]["command"].removeprefix("papermill ").split()
        notebook(name, out, *parameters)
    committed, made = measured(PRETRAINED.stem, midis)
    return readme.results_table(committed), readme.results_table(made)


def models(everything: bool, midis: list[str]) -> tuple[str, str]:
    """Return the table of models as committed and as made now: the default one, or every one of the sampled piano."""
    kept = {name: model for name, model in pieces.kept().items() if model["instrument"] == "steinway"}
    names = [name for name in kept if name != PRETRAINED.stem] if everything else ["mask_keyed"]
    both: tuple[dict, dict] = ({}, {})
    for name in names:
        notebook("05_train.ipynb", f"{name}.ipynb", *parameters_of(Settings.from_dict(kept[name]["settings"])))
        for tables, model in zip(both, measured(name, midis), strict=True):
            tables[name] = model
    return pieces.worst_table(both[0]), pieces.worst_table(both[1])


def parameters_of(settings: Settings) -> list[str]:
    """Return what papermill is told to train by these settings: the name, and every parameter that is not as usual."""
    flat = {
        "name": settings.name,
        "architecture": settings.network.architecture,
        "codification": settings.codification.kind,
    }
    for part in (settings.spectral, settings.codification, settings.network, settings.training):
        flat |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.name != "kind"}
    usual = {**make_settings.__kwdefaults__, **dataclasses.asdict(ARCHITECTURES[settings.network.architecture])}
    changed = [name for name, value in flat.items() if name != "bins" and value != usual.get(name)]
    return [word for name in changed for word in ("-p", name, str(flat[name]))]


def measured(name: str, midis: list[str]) -> tuple[dict, dict]:
    """Return a model's committed measures and those made now, both of the pieces that are here."""
    run("python", "-m", "nnss_utils.pieces", name, *midis)
    committed, made = pieces.kept()[name], read_json(RESULTS / "pieces" / f"{name}.json")
    missing = [piece for piece in committed["pieces"] if piece not in made["pieces"]]
    if missing:
        print(f"not made again, their MIDI files are not given (MIDI=PATH): {', '.join(missing)}")
    here = [piece for piece in committed["pieces"] if piece in made["pieces"]]
    both = []
    for model in (committed, made):
        rows = {piece: model["pieces"][piece] for piece in here}
        both.append(model | {"pieces": rows, "worst": pieces.worst(rows)})
    return both[0], both[1]


def claims(everything: bool, midis: list[str]) -> tuple[str, str]:
    """Return the table of claims as committed and as judged now, from the kept trainings or from new ones."""
    if not everything:
        shutil.copytree(KEPT / "laboratory", RESULTS / "laboratory", dirs_exist_ok=True)
    notebook("07_claims.ipynb", "out.ipynb")
    return tuple(readme.verdicts_table(read_json(folder / "claims.json")) for folder in (KEPT, RESULTS))


def speed(everything: bool, midis: list[str]) -> tuple[str, str]:
    """Return the table of speeds as committed and as measured now."""
    run("python", "-m", "nnss_utils.benchmark")
    return tuple(readme.speed_table(read_json(folder / "benchmark.json")) for folder in (KEPT, RESULTS))


TABLES: dict[str, Callable[[bool, list[str]], tuple[str, str]]] = {
    "results": results,
    "models": models,
    "claims": claims,
    "speed": speed,
}


def notebook(name: str, out: str, *parameters: str) -> None:
    """Run a notebook of the project by papermill, its output under HOME."""
    HOME.mkdir(parents=True, exist_ok=True)
    run("papermill", name, str(HOME / f"{Path(name).stem}_{out}"), *parameters, folder=ROOT / "notebooks")


def differences(committed: str, made: str) -> list[str]:
    """Return a line for each figure, or word, of Markdown tables that differs by more than its spread."""
    found = []
    before, after = committed.splitlines(), made.splitlines()
    if len(before) != len(after):
        found.append(f"{len(after)} lines, committed are {len(before)}")
    heads: list[str] = []
    for old, new in zip(before, after, strict=False):
        old_cells, new_cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (old, new))
        if not old.startswith("|"):
            heads = []
        elif not heads:
            heads = old_cells
        for column, (a, b) in enumerate(zip(old_cells, new_cells, strict=False)):
            heading = f"{heads[column] if column < len(heads) else ''} {old_cells[0] if column else ''}".strip()
            if a != b and not alike(a, b, spread_of(heading or a)):
                found.append(f"{old_cells[0]}, {heads[column] if heads else 'text'}: {b!r}, committed is {a!r}")
    return found


def spread_of(heading: str) -> Spread:
    """Return what a figure of this column and row may differ by: exact where nothing matches."""
    return next((spread for spread in SPREADS if re.search(spread.heading, heading)), Spread(""))


def numbers_of(cell: str) -> list[float]:
    """Return the numbers in a text."""
    return [float(number.replace(",", "")) for number in NUMBER.findall(cell)]


def alike(a: str, b: str, spread: Spread) -> bool:
    """Return whether two cells say the same but for their numbers, and these differ by no more than the spread."""
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    pairs = list(zip(numbers_of(a), numbers_of(b), strict=True))[slice(*spread.numbers)]
    return all(abs(x - y) <= max(spread.absolute, spread.relative * max(abs(x), abs(y))) * (1 + 1e-9) for x, y in pairs)


if __name__ == "__main__":
    try:
        sys.exit(1 if main(sys.argv[1:]) else 0)
    except InputError as error:
        sys.exit(f"error: {error}")
