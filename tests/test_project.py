"""The project's own files fit each other: environment, notebooks, README, sizes."""

import ast
import re
import subprocess
import sys
import tomllib
from inspect import signature
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from prepare_notebooks import fast_parameters

import nnss_utils as nn
from nnss_utils.laboratory.grid import everything
from nnss_utils.maintenance.tables import CLAIMS, TABLES_FILE, tables
from nnss_utils.paths import read_json

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAME = re.compile(r"^[A-Za-z0-9_.-]+")


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_conda_installs_the_lock_and_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.lock.txt", "-e ."]}]
    assert PYPROJECT["project"]["requires-python"] == ">=3.11"


def test_the_lock_pins_every_dependency_and_names_no_address():
    lock = (ROOT / "requirements.lock.txt").read_text()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lock.splitlines() if "==" in line}
    extras = PYPROJECT["project"]["optional-dependencies"]
    for requirement in [*PYPROJECT["project"]["dependencies"], *extras["app"], *extras["dev"], *extras["soundfont"]]:
        assert NAME.match(requirement)[0].lower() in pinned, requirement
    for file in ("requirements.lock.txt", "environment.yml"):
        assert "://" not in (ROOT / file).read_text() and "file:" not in (ROOT / file).read_text()


def test_the_project_stays_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert sum(sizes.values()) < 20e6
    assert sizes[ROOT / "img" / "phase_bins.gif"] < 2e6
    assert all(size < 500_000 for path, size in sizes.items() if path.suffix == ".ipynb")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_say_what_is_learned_and_where_to_go(path):
    text = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert "**What you will learn" in text[0]
    assert "## What we learned" in text[-1] and "Next: " in text[-1]
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(text))
    assert re.search(r"Next: .*\]\(\d\d_\w+\.ipynb\)", text[-1], re.S)
    assert all("://" in link or (path.parent / link.split("#")[0]).is_file() for link in links), links


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean_and_executed(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [i for i, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])] == [0]
    for cell in code:
        tree = ast.parse(cell.source)
        assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno < 8, (
                    f"{node.name} has more than 8 lines: it belongs in the package"
                )
    assert all(cell.execution_count == i for i, cell in enumerate(code, start=1)), "run `make notebooks`"
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert "<audio" not in path.read_text() and "widget-view" not in path.read_text()


def test_notebooks_carry_no_run_metadata():
    verify = [Path(sys.executable).parent / "nbstripout", "--verify"]
    from execute_notebooks import STRIP

    subprocess.run([*verify, *STRIP, *NOTEBOOKS], check=True)


def test_every_notebook_has_fast_parameters_that_it_knows():
    assert set(fast_parameters()) == {path.stem for path in NOTEBOOKS}
    for stem, parameters in fast_parameters().items():
        path = ROOT / "notebooks" / f"{stem}.ipynb"
        source = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        # parameters that the notebook hands on work by -p without being listed
        handed_on = [getattr(nn, name) for name in re.findall(r"given_parameters\(nn\.(\w+)", source)]
        known = set(papermill.inspect_notebook(path)).union(*(signature(each).parameters for each in handed_on))
        assert set(parameters) <= known


def test_the_page_of_results_has_the_committed_results():
    page = TABLES_FILE.read_text()
    for (start, end), table in tables().items():
        assert page[page.index(start) + len(start) : page.index(end)].strip() == table.strip()


def test_every_row_of_the_claims_is_committed_with_two_minutes_of_training():
    """On a fresh clone the tables of 03, 04 and 07 are rebuilt without training."""
    committed = {path.stem.rsplit("-", 1)[1] for path in (ROOT / "data" / "results" / "laboratory").glob("*.json")}
    experiments = everything()
    assert {experiment.identity for experiment in experiments} <= committed
    assert all(experiment.settings.training.seconds >= 120 for experiment in experiments)
    verdicts = {row["verdict"] for row in read_json(CLAIMS)["claims"]}
    assert verdicts <= {"confirmed", "partly", "refuted", "not decidable here"}
    assert not any("was not run" in row["why"] for row in read_json(CLAIMS)["claims"])


def test_the_readmes_links_and_pictures_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link


def test_text_files_name_no_machine():
    for path in tracked():
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".json"} or path.name in {
            "Makefile",
            "run",
        }:
            assert not re.search(r"/(root|home|work)/[a-z.]", path.read_text()), path


def test_make_lists_its_verbs():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True).stdout
    for verb in ("run", "test", "lab", "lock", "clean"):
        assert f"make {verb} " in said


def test_every_committed_result_says_where_it_comes_from():
    """Versions and commit in each; the digests of its data in each, or in each piece (a benchmark has none)."""
    folder = ROOT / "data" / "results"
    for path in [path for path in tracked() if path.is_relative_to(folder) and path.suffix == ".json"]:
        result = read_json(path)
        assert "python" in result["versions"] and re.fullmatch(r"[0-9a-f]{40}\+?", result["commit"]), path.name
        for part in result["pieces"].values() if path.parent.name == "pieces" else [result]:
            if path.name != "benchmark.json":
                assert {len(digest) for digest in part["data"].values()} == {64}, path.name
        if path.parent.name in ("laboratory", "pieces"):
            assert {"spectral", "network", "training"} <= set(result["settings"])
