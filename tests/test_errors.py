"""Bad parameters are refused in one line; a notebook run from the shell shows it and leaves nothing half done."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnss_utils.errors import InputError, WriteError, check_flag, check_parameters
from nnss_utils.instruments.wav import _write_blocks, read_wav, write_wav
from nnss_utils.model.settings import make_settings
from nnss_utils.paths import cache_folder, existing_file, safe_name, write_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"power": 0}, "power=0 is out of range"),
        ({"power": "0.5"}, "power='0.5' is str"),
        ({"power": 2}, "power=2"),
        ({"frame_step": 2048}, "frame_step=2048 is too large for a hann window"),
        ({"frame_step": 5000}, "frame_step=5000 is out of range"),
        ({"frame_length": 1001}, "frame_length=1001 must be a multiple"),
        ({"window": "hanning"}, "window='hanning' is unknown; choose one of hann"),
        ({"oversampling": 1.5}, "oversampling=1.5 is float"),
        ({"codification": "sines"}, "codification='sines' is unknown"),
        ({"architecture": "transformer"}, "architecture='transformer' is unknown"),
        ({"codification": "two_sines"}, "masks partials"),
        ({"layers": -1}, "layers=-1"),
        ({"layers": False}, "layers=False is bool"),
        ({"units": 10.0}, "units=10.0 is float"),
        ({"loss": "multi"}, "loss='multi' is unknown"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"batch": -5}, "batch=-5"),
        ({"architecture": "mask_blstm", "frames": 1}, "give frames of 2 or more"),
        ({"steps": "many"}, "steps='many' is str"),
        ({"seconds": 0}, "seconds=0"),
        ({"holdout": 0.9}, "holdout=0.9"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"name": "../up"}, "name='../up'"),
        ({"name": 5}, "name=5"),
        ({"release": 0}, "release=0"),
        ({"heterodyne": "false"}, "heterodyne='false' is str; write True or False"),
    ],
)
def test_bad_parameters_say_what_and_what_to_do(parameters, says):
    with pytest.raises(InputError) as caught:
        make_settings(**parameters)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_names_tell_what_is_not_as_usual():
    assert make_settings().name == "modal"
    assert make_settings(power=0.125).name == "modal_power0.125"
    assert make_settings(power=0.125, units=64, architecture="mask_blstm").name == "mask_blstm_power0.125_units64"


def test_zero_stands_for_what_suits_the_architecture():
    settings = make_settings(architecture="direct_blstm")
    assert settings.network.layers == 2 and settings.training.frames > 1


def test_flags_are_bools():
    check_flag("x", False)
    with pytest.raises(InputError):
        check_flag("x", "false")


@pytest.mark.parametrize(
    ("notebook", "parameters", "says"),
    [
        (
            "05_train",
            ["-p", "power", "0", "-p", "name", "refused"],
            "InputError: power=0 is out of range; give a value",
        ),
        (
            "06_evaluation",
            ["-p", "model", "nobody", "-p", "name", "refused"],
            "InputError: model 'nobody' does not exist",
        ),
    ],
)
def test_from_the_shell(tmp_path, notebook, parameters, says):
    command = [Path(sys.executable).parent / "papermill", f"{notebook}.ipynb", tmp_path / "out.ipynb", *parameters]
    done = subprocess.run(command, cwd=ROOT / "notebooks", capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith(says)
    from nnss_utils.paths import RENDERS, RUNS

    assert not (RUNS / "refused").exists() and not (RENDERS / "refused").exists()


def test_unknown_parameters_are_refused_with_the_nearest_name():
    notebook = ["power = 0.5  # p\nseed = 0", "", "import os\nunrelated = 1"]

    def check(injected, **more):
        check_parameters({"In": ["", *notebook[:1], f"# Parameters\n{injected}\n", *notebook[1:]]}, **more)

    check("power = 0.125\nseed = 3\n")
    for function in (make_settings, lambda ring: ring):
        check_parameters({"In": [notebook[0], "# Parameters\nring = 0.1"]}, function)
    with pytest.raises(InputError, match=r"^-p powr: this notebook has no such parameter; did you mean power\?$"):
        check("powr = 0.125")
    with pytest.raises(InputError, match=r"-p xyzzy: .*; known: power, seed"):
        check('xyzzy = "a"')
    check_parameters({})  # a script


def test_paths_that_cannot_be_opened_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    assert existing_file("~/a.txt", "file") == tmp_path / "a.txt"
    for path, says in (
        ("~/b", "does not exist"),
        (tmp_path, "Is a directory"),
        ("x" * 5000, "too long"),
        ("a\0b", "null"),
    ):
        with pytest.raises(InputError, match=f"^file .*{says}") as caught:
            existing_file(path, "file")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    for name in (".keras", ".hidden", "a/b", "", "x" * 121):
        with pytest.raises(InputError, match="name"):
            safe_name(name)


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    sound = np.zeros(100, np.float32)
    for write in (lambda path: write_json(path, {}), lambda path: write_wav(path, sound)):
        with pytest.raises(WriteError, match="can't be written") as caught:
            write(tmp_path / "file" / "below" / "a.wav")
        assert isinstance(caught.value, InputError) and isinstance(caught.value, OSError) and caught.value.strerror


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' full device")
def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(WriteError, match=r"no sound can be written into .*room"):
        _write_blocks(Path("/dev/full"), [np.ones(10**6, np.float32)], "FLOAT", tmp_path)


def test_raw_files_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(InputError, match=r"a\.raw is not a readable sound file"):
        read_wav(tmp_path / "a.raw")


def test_the_cache_lies_where_it_can_be_written(tmp_path, monkeypatch):
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    (checkout / "data").mkdir(parents=True)
    assert cache_folder(checkout, home) == checkout / "data" / "cache"
    monkeypatch.setattr(os, "access", lambda path, mode: home in Path(path).parents)  # as in a checkout of another user
    assert cache_folder(checkout, home) == home / "data" / "cache"


def test_numba_writes_its_cache_into_the_home_of_results(tmp_path):
    code = "import nnss_utils, numba.core.config as config; print(config.CACHE_DIR)"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["NNSS_HOME"] = str(tmp_path)
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert said.stdout.strip() == str(tmp_path / "data" / "cache" / "numba"), said.stderr
