"""Make the committed results again by their commands, and list the figures that differ by more than their spread. `make
reproduce` writes everything under build/reproduced and changes nothing committed. It measures the shipped model, trains
and measures the default one, judges the claims from the committed trainings, and measures the speeds. `--all` trains
every model and every row of the claims, which takes hours. Given MIDI files are added; missing ones are listed."""

import argparse
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from nnss_utils.errors import InputError, check_choice, exit_with
from nnss_utils.evaluation.test_set import committed_measures, worst
from nnss_utils.maintenance.pipeline import NOTEBOOKS
from nnss_utils.maintenance.tables import CLAIMS, SPEED, TABLES
from nnss_utils.model.model_file import read_metadata
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.paths import COMMITTED_RESULTS, PRETRAINED, ROOT, read_json

HOME = ROOT / "build" / "reproduced"
RESULTS = HOME / "data" / "results"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


class Spread(NamedTuple):
    """The difference allowed to a figure whose path in the JSON matches: the larger of absolute and relative."""

    path: str
    absolute: float = 0.0
    relative: float = 0.0


# the first match counts; times and speeds depend on the machine and are not compared
SPREADS = (
    Spread(r"(?<!low_)(?<!high_)(?<!_)seconds$|_s$|_ms$|minutes", relative=9e9),
    Spread(r"/(step|piped|making|warm_up|start_up|total|keras|ours)$|synthesis_seconds|times_real_time", relative=9e9),
    Spread(r"gflops$|kffts|stages|cost/|/speed_|/profile/", relative=9e9),
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
    """Make the results again, print the differences, and return the number of figures that differ."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.maintenance.reproduce", description=__doc__)
    parser.add_argument("--all", action="store_true", help="train everything again")
    parser.add_argument("--tables", default=",".join(TABLES), help=f"by comma, of {', '.join(TABLES)}")
    parser.add_argument("midi", nargs="*", help="MIDI files of pieces in the table")
    chosen = parser.parse_args(arguments)
    names, midis, differing = chosen.tables.split(","), [str(Path(midi).resolve()) for midi in chosen.midi], 0
    for name in names:
        check_choice("tables", name, tuple(TABLES))
    for name in names:
        committed, made = MAKERS[name](chosen.all, midis)
        found, count = differences(committed, made), len(list(figures(made)))
        print(f"\n{TABLES[name][1](made)}\n\n{name}: {count} figures, {len(found)} differ by more than their spread")
        print("\n".join(f"  {line}" for line in found), flush=True)
        differing += len(found)
    return differing


def run(*command: str, folder: Path = ROOT) -> None:
    """Run a command of this Python's environment, its files under HOME; raises `InputError` if it fails."""
    print(f"$ {shlex.join(command)}", flush=True)
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=folder, env=os.environ | {"NNSS_HOME": str(HOME)})
    if done.returncode:
        raise InputError(f"{shlex.join(command)} ended with {done.returncode}; its output is above")


def notebook(name: str, out: str, *parameters: str) -> None:
    """Run a notebook of the project by papermill, with its output under HOME."""
    HOME.mkdir(parents=True, exist_ok=True)
    run("papermill", name, str(HOME / f"{Path(name).stem}_{out}"), *parameters, folder=NOTEBOOKS)


def results(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the shipped model's committed and new measures of the pieces whose files are given."""
    if everything:
        name, out, *parameters = read_metadata(PRETRAINED)["training"]["command"].removeprefix("papermill ").split()
        notebook(name, out, *parameters)
    return measured(PRETRAINED.stem, midis)


def models(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return measures by model, committed and made now: of the default one, or all of the sampled piano."""
    kept = {name: model for name, model in committed_measures().items() if model["instrument"] == "steinway"}
    names = [name for name in kept if name != PRETRAINED.stem] if everything else ["modal"]
    both = {}
    for name in names:
        notebook("05_train.ipynb", f"{name}.ipynb", *parameters_of(Settings.from_dict(kept[name]["settings"])))
        both[name] = measured(name, midis)
    return tuple({name: sides[side] for name, sides in both.items()} for side in (0, 1))


def parameters_of(settings: Settings) -> list[str]:
    """Return papermill's arguments for a training by these settings: the name, and every non-default parameter."""
    name, *parts = settings.to_dict().values()
    flat = {"name": name} | {key: value for part in parts for key, value in part.items() if key != "bins"}
    flat["codification"] = flat.pop("kind")
    defaults = make_settings.__kwdefaults__ | dataclasses.asdict(ARCHITECTURES[settings.network.architecture])
    changed = {key: value for key, value in flat.items() if value != defaults.get(key)}
    return [word for key, value in changed.items() for word in ("-p", key, str(value))]


def measured(name: str, midis: list[str]) -> tuple[dict, dict]:
    """Return a model's committed and new measures of the pieces whose files are given."""
    run("python", "-m", "nnss_utils.evaluation.test_set", name, *midis)
    both = committed_measures()[name], read_json(RESULTS / "pieces" / f"{name}.json")
    committed, made = (model["pieces"].keys() for model in both)
    if missing := [piece for piece in committed if piece not in made]:
        print(f"not made again, since their MIDI files are not given (MIDI=PATH): {', '.join(missing)}")
    rows = [{piece: model["pieces"][piece] for piece in committed if piece in made} for model in both]
    return tuple(model | {"pieces": here, "worst": worst(here)} for model, here in zip(both, rows, strict=True))


def claims(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the judged claims as committed and as judged now, from the committed trainings or from new ones."""
    if not everything:
        shutil.copytree(COMMITTED_RESULTS / "laboratory", RESULTS / "laboratory", dirs_exist_ok=True)
    notebook("07_claims.ipynb", "out.ipynb")
    return read_json(CLAIMS), read_json(RESULTS / "claims.json")


def speed(everything: bool, midis: list[str]) -> tuple[dict, dict]:
    """Return the benchmark as committed and as measured now."""
    run("python", "-m", "nnss_utils.maintenance.benchmarks")
    return read_json(SPEED), read_json(RESULTS / "benchmark.json")


MAKERS = {"results": results, "models": models, "claims": claims, "speed": speed}


def figures(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (path, value) of every number and text in JSON content that is compared."""
    if UNCOMPARED.search(path):
        return
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from figures(value, f"{path}/{key}")
    else:
        yield path, content


def differences(committed: object, made: object) -> list[str]:
    """Return a line for each figure or text that differs by more than its spread, or is on one side only."""
    before, after = dict(figures(committed)), dict(figures(made))
    lines = [f"{path}: only {'committed' if path in before else 'made now'}" for path in before.keys() ^ after.keys()]
    both = ((path, before[path], after[path]) for path in before.keys() & after.keys())
    lines += [f"{path}: {b!r}, committed is {a!r}" for path, a, b in both if not same(a, b, spread_of(path))]
    return sorted(lines)


def spread_of(path: str) -> Spread:
    """Return the spread allowed to a figure at this path: 0 where no pattern matches."""
    return next((spread for spread in SPREADS if re.search(spread.path, path)), Spread(""))


def same(a: object, b: object, spread: Spread) -> bool:
    """Return whether two values, or the numbers in two texts that are otherwise equal, agree within the spread."""
    if isinstance(a, str) and isinstance(b, str):
        numbers = ([float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (a, b))
        return NUMBER.sub("#", a) == NUMBER.sub("#", b) and all(map(same, *numbers, repeat(spread)))
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b)):
        return a == b
    return abs(a - b) <= max(spread.absolute, spread.relative * max(abs(a), abs(b))) * (1 + 1e-9)


if __name__ == "__main__":
    exit_with(lambda arguments: bool(main(arguments)))
