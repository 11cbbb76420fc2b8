"""The committed results made again by their commands, and which figures differ by more than their spread.

`make reproduce` writes everything under build/reproduced and changes nothing committed. It measures the shipped model
again, trains and measures the default one, judges the claims again from the kept trainings, and measures the speeds.
`--all` trains every model and every row of the claims again, which takes hours. Given MIDI files join the pieces;
missing ones are listed.
"""

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nnss_utils.errors import InputError
from nnss_utils.evaluation.test_set import kept_measures, worst, worst_table
from nnss_utils.laboratory.claims import claims_table
from nnss_utils.maintenance.tables import results_table, speed_table
from nnss_utils.model.model_file import PRETRAINED, read_metadata
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.paths import KEPT_RESULTS, ROOT, read_json

HOME = ROOT / "build" / "reproduced"
RESULTS = HOME / "data" / "results"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Spread:
    """By how much a figure may differ whose path in the JSON matches: at least one of the two."""

    path: str
    absolute: float = 0.0
    relative: float = 0.0


# the first match counts; times and speeds are the machine's own and are not compared
SPREADS = (
    Spread(
        r"(?<!low_)(?<!high_)(?<!_)seconds$|_s$|_ms$|minutes|/(step|piped|making|warm_up|start_up|total)$", relative=9e9
    ),
    Spread(r"synthesis_seconds|times_real_time|gflops$|kffts|stages|cost/|speed/|tried|/(keras|ours)$", relative=9e9),
    Spread(r"share$|ratio$(?<!attack_ratio)|_mb$", relative=0.25),
    Spread(r"difference$", absolute=1e-5),
    Spread(r"bandwidth_hz|limit_hz", relative=0.27),  # a third of an octave
    Spread(r"correlation", absolute=0.001),
    Spread(r"attack_ratio", absolute=0.05),
    Spread(r"_db$", absolute=0.2),
    Spread(r"multi_scale_loss", absolute=0.02, relative=0.05),
    Spread(r"loss$", relative=0.1),
    Spread(r"/(why|measured)$", absolute=0.02, relative=0.25),  # texts of the claims, whose numbers vary a little
)
UNCOMPARED = re.compile(
    r"/(versions|commit|data|made_with|fingerprint|command|measures|machine|minutes|gpu|pair|train_loss|steps)(/|$)"
)


def main(arguments: list[str]) -> int:
    """Make the results again, print what differs, and return how many figures do."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.maintenance.reproduce", description=__doc__)
    parser.add_argument("--all", action="store_true", help="train everything again")
    parser.add_argument("--tables", default=",".join(TABLES), help=f"by comma, of {', '.join(TABLES)}")
    parser.add_argument("midi", nargs="*", help="MIDI files of pieces in the table")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.tables.split(",") if name not in TABLES]
    if unknown:
        raise InputError(f"tables={unknown[0]!r} is unknown; choose of {', '.join(TABLES)}")
    midis, differing = [str(Path(midi).resolve()) for midi in chosen.midi], 0
    for name in chosen.tables.split(","):
        make, show = TABLES[name]
        committed, made = make(chosen.all, midis)
        found = differences(committed, made)
        count = sum(1 for _ in figures(made))
        print(f"\n{show(made)}\n\n{name}: {count} figures, {len(found)} differ by more than their spread")
        print("\n".join(f"  {line}" for line in found), flush=True)
        differing += len(found)
    return differing


def run(*command: str, folder: Path = ROOT) -> None:
    """Run a command with its files under HOME; raises `InputError` if it fails."""
    print(f"$ {' '.join(command)}", flush=True)
    command = [str(Path(sys.executable).parent / "papermill") if part == "papermill" else part for part in command]
    command = [sys.executable if part == "python" else part for part in command]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "NNSS_HOME": str(HOME)})
    if done.returncode:
        raise InputError(f"{Path(command[0]).name} ended with {done.returncode}; its output is above")


def notebook(name: str, out: str, *parameters: str) -> None:
    """Run a notebook of the project by papermill, with its output under HOME."""
    HOME.mkdir(parents=True, exist_ok=True)
    run("papermill", name, str(HOME / f"{Path(name).stem}_{out}"), *parameters, folder=ROOT / "notebooks")


def results(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the shipped model's measures as committed and as made now, both of the pieces that are here."""
    if everything:
        name, out, *parameters = read_metadata(PRETRAINED)["training"]["command"].removeprefix("papermill ").split()
        notebook(name, out, *parameters)
    return measured(PRETRAINED.stem, midis)


def models(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return measures by model, committed and made now: of the default one, or all of the sampled piano."""
    kept = {name: model for name, model in kept_measures().items() if model["instrument"] == "steinway"}
    names = [name for name in kept if name != PRETRAINED.stem] if everything else ["mask_keyed"]
    both: tuple[dict, dict] = ({}, {})
    for name in names:
        notebook("05_train.ipynb", f"{name}.ipynb", *parameters_of(Settings.from_dict(kept[name]["settings"])))
        for side, model in zip(both, measured(name, midis), strict=True):
            side[name] = model
    return both


def parameters_of(settings: Settings) -> list[str]:
    """Return papermill's arguments for a training by these settings: the name, and every non-default parameter."""
    parts = (settings.spectral, settings.codification, settings.network, settings.training)
    flat = {field.name: getattr(part, field.name) for part in parts for field in dataclasses.fields(part)}
    flat = {"name": settings.name, "codification": flat.pop("kind"), **flat}
    defaults = {**make_settings.__kwdefaults__, **dataclasses.asdict(ARCHITECTURES[settings.network.architecture])}
    defaults["architecture"] = make_settings.__kwdefaults__["architecture"]
    changed = [name for name, value in flat.items() if name != "bins" and value != defaults.get(name)]
    return [word for name in changed for word in ("-p", name, str(flat[name]))]


def measured(name: str, midis: list[str]) -> tuple[dict, dict]:
    """Return a model's committed measures and those made now, both of the pieces that are here."""
    run("python", "-m", "nnss_utils.evaluation.test_set", name, *midis)
    committed, made = kept_measures()[name], read_json(RESULTS / "pieces" / f"{name}.json")
    missing = [piece for piece in committed["pieces"] if piece not in made["pieces"]]
    if missing:
        print(f"not made again, since their MIDI files are not given (MIDI=PATH): {', '.join(missing)}")
    here = [piece for piece in committed["pieces"] if piece in made["pieces"]]
    both = []
    for model in (committed, made):
        rows = {piece: model["pieces"][piece] for piece in here}
        both.append(model | {"pieces": rows, "worst": worst(rows)})
    return both[0], both[1]


def claims(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the judged claims as committed and as judged now, from the kept trainings or from new ones."""
    if not everything:
        shutil.copytree(KEPT_RESULTS / "laboratory", RESULTS / "laboratory", dirs_exist_ok=True)
    notebook("07_claims.ipynb", "out.ipynb")
    return read_json(KEPT_RESULTS / "claims.json"), read_json(RESULTS / "claims.json")


def speed(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the benchmark as committed and as measured now."""
    run("python", "-m", "nnss_utils.maintenance.benchmarks")
    return read_json(KEPT_RESULTS / "benchmark.json"), read_json(RESULTS / "benchmark.json")


# name -> (what makes committed and new JSON, what shows it as a table)
TABLES: dict[str, tuple[Callable[[bool, list[str]], tuple[dict, dict]], Callable[[dict], str]]] = {
    "results": (results, results_table),
    "models": (models, worst_table),
    "claims": (claims, lambda content: claims_table(content["claims"], short=True)),
    "speed": (speed, speed_table),
}


def figures(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (path, value) of every number and text in JSON content that is compared."""
    if UNCOMPARED.search(path):
        return
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from figures(value, f"{path}/{key}")
    else:
        yield path, content


def differences(committed: object, made: object) -> list[str]:
    """Return a line for each figure or text that differs by more than its spread, or is on one side only."""
    before, after = dict(figures(committed)), dict(figures(made))
    lines = [f"{path}: only {'committed' if path in before else 'made now'}" for path in before.keys() ^ after.keys()]
    for path in before.keys() & after.keys():
        if not same(before[path], after[path], spread_of(path)):
            lines.append(f"{path}: {after[path]!r}, committed is {before[path]!r}")
    return sorted(lines)


def spread_of(path: str) -> Spread:
    """Return what a figure at this path may differ by: nothing where no pattern matches."""
    return next((spread for spread in SPREADS if re.search(spread.path, path)), Spread(""))


def same(a: object, b: object, spread: Spread) -> bool:
    """Return whether two values, or the numbers in two texts that are otherwise equal, agree within the spread."""
    if isinstance(a, str) and isinstance(b, str):
        numbers = [[float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (a, b)]
        return NUMBER.sub("#", a) == NUMBER.sub("#", b) and all(
            same(x, y, spread) for x, y in zip(*numbers, strict=True)
        )
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b)):
        return a == b
    return abs(a - b) <= max(spread.absolute, spread.relative * max(abs(a), abs(b))) * (1 + 1e-9)


if __name__ == "__main__":
    try:
        sys.exit(1 if main(sys.argv[1:]) else 0)
    except InputError as error:
        sys.exit(f"error: {error}")
