"""The rooms of the package: imports go one way and never in a circle, sizes, the facade, models saved before."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnss_utils
from nnss_utils.midi import Note
from nnss_utils.model.model_file import load_model
from nnss_utils.synthesis.render import render

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nnss_utils"
DATA = Path(__file__).resolve().parent / "data"
TOP = {"__init__", "errors", "hdf5_file", "midi", "midi_file", "paths", "pedals", "provenance", "scores"}
ROOMS = ("top", "dsp", "instruments", "model", "training", "synthesis", "evaluation", "laboratory", "notebook",
         "maintenance")  # fmt: skip


def sources() -> dict[str, Path]:
    """Return the file of every module by its name, "nnss_utils.dsp.stft"; a package by the name of its folder."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


SOURCES = sources()


def room_of(module: str) -> str:
    """Return the room of a module: the folder that it lies in, "top" where it lies in none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "top"


def modules_of(imported: ast.Import | ast.ImportFrom, module: str) -> set[str]:
    """Return the modules of the package that an import statement in `module` imports."""
    if isinstance(imported, ast.Import):
        names = [alias.name for alias in imported.names]
        return {name for name in names if name.split(".")[0] == "nnss_utils"}
    base = imported.module or ""
    if imported.level:
        package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
        base = ".".join([*package[: len(package) - imported.level + 1], *filter(None, [imported.module])])
    if base.split(".")[0] != "nnss_utils":
        return set()
    names = (f"{base}.{alias.name}" for alias in imported.names)
    return {name if name in SOURCES else base for name in names}


def imports_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere, in its functions too."""
    tree = ast.parse(SOURCES[module].read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return set().union(*(modules_of(node, module) for node in nodes)) if nodes else set()


def test_only_the_named_files_lie_at_the_top_and_every_room_is_a_package():
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS[1:]) and all((PACKAGE / room / "__init__.py").is_file() for room in folders)


@pytest.mark.parametrize("module", SOURCES)
def test_a_room_imports_only_from_the_rooms_above_it(module):
    for imported in imports_of(module):
        assert imported in SOURCES, f"{module} imports {imported}, which is not there"
        assert ROOMS.index(room_of(imported)) <= ROOMS.index(room_of(module)), f"{module} imports {imported}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: imports_of(module) - {module} for module in SOURCES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert done == set(SOURCES)


def lines_of(paths) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


def test_the_package_stays_small():
    method = ("dsp", "model", "training", "synthesis")
    assert lines_of(path for room in method for path in (PACKAGE / room).rglob("*.py")) < 3200
    # 8700, the reading of real pairs and strangers' files, a second piano with 16 dynamics, keys and velocities never
    # heard
    assert lines_of(SOURCES.values()) < 10300


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run Python code in a process of its own, at the root of the project."""
    environment = os.environ | environment
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


LOADED = "print(*sorted({name.split('.')[0] for name in sys.modules}))"


def test_every_name_of_the_facade_is_there():
    for name in nnss_utils.__all__:
        assert getattr(nnss_utils, name) is not None and name in dir(nnss_utils)
    assert len(set(nnss_utils.__all__)) == len(nnss_utils.__all__) > 20
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = nnss_utils.no_such_name


def test_importing_the_package_imports_no_large_library():
    done = run(f"import sys, nnss_utils\n{LOADED}")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "nnss_utils" in loaded
    assert not loaded & {"tensorflow", "keras", "scipy", "librosa", "matplotlib"}


def test_codification_midi_and_stft_need_no_tensorflow():
    done = run(
        "import sys\n"
        "from nnss_utils.dsp.stft import Spectral, stft\n"
        "from nnss_utils.midi import read_midi\n"
        "from nnss_utils.model.codification import two_sines\n"
        "notes = read_midi('data/midi/bwv847_fugue.mid')\n"
        "S = stft(two_sines(notes, 44100)[0], Spectral())\n"
        "assert S.shape[1] == 1024 and abs(S).max() > 0\n" + LOADED
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "nnss_utils" in loaded and not loaded & {"tensorflow", "keras"}


def test_the_readmes_example_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    examples = [block for block in blocks if block.startswith("import nnss_utils as nn")]
    assert examples, "the README has no example that starts with 'import nnss_utils as nn'"
    done = run(examples[0], NNSS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_model_saved_before_the_rooms_sounds_as_it_did():
    """Its config names the module nnss_utils.recurrent, which has moved."""
    sound = render([Note(0, 0.1, 60)], load_model(str(DATA / "saved_before.keras")), progress=False)
    expected = np.load(DATA / "saved_before.npy", allow_pickle=False)
    assert expected.dtype == np.float32 and expected.any()
    assert sound.shape == expected.shape
    # after its three steps of training the network is nearly silent: 1e-5 counts in parts of its peak
    np.testing.assert_allclose(sound, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
