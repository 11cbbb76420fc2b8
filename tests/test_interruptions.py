"""Trainings in real processes: killed, out of room, interrupted in a kernel, two at once. Nothing is lost."""

import signal
import sys
import time

import interrupt
import numpy as np
import pytest

from nnss_utils.errors import InputError
from nnss_utils.model import model_file
from nnss_utils.model.model_file import load_model
from nnss_utils.paths import read_json, training_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
STEPS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder where one training was left alone."""
    folder = tmp_path_factory.mktemp("home")
    process = interrupt.start(folder, "whole", STEPS, 60)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder


def assert_like_the_whole(home, name):
    np.testing.assert_allclose(interrupt.curve_of(home, name), interrupt.curve_of(home, "whole"), rtol=0, atol=1e-6)
    assert interrupt.files_of(home, name) == {"model.keras", "training.json"}
    whole, other = (load_model(str(home / "data" / "runs" / n / "model.keras")) for n in ("whole", name))
    for a, b in zip(whole.network.weights, other.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_at_random_moments_and_resumed_it_is_the_same_training(home):
    seen = interrupt.kill_and_resume(home, "killed", STEPS, kills=2)
    assert seen["kills"] == seen["checkpoints that play"] > 0
    assert_like_the_whole(home, "killed")


def test_no_room_for_checkpoints_ends_no_training_and_none_for_the_model_is_said(home):
    """A quota by the system's limit on the size of a file: the model is half as large as a checkpoint and more."""
    model = (home / "data" / "runs" / "whole" / "model.keras").stat().st_size
    tight = interrupt.start(home, "tight", STEPS, 0, int(1.2 * model))
    full = interrupt.start(home, "full", 20, 0, model // 2)
    said, errors = tight.communicate()
    assert tight.returncode == 0, errors
    assert "the checkpoint can't be written (File too large): training continues without it; make room" in said
    assert_like_the_whole(home, "tight")
    _, errors = full.communicate()
    assert full.returncode == 1 and errors.splitlines()[-1].startswith("error: ")
    assert "model.keras can't be written (File too large); make room and run it again" in errors
    assert interrupt.files_of(home, "full") <= {"training.json"}


def test_a_full_disk_leaves_the_last_good_checkpoint(home):
    """Room when it starts, none later: the checkpoint written before stays, and the training goes on from it."""
    process = interrupt.start(home, "later", STEPS)
    interrupt.wait_for_checkpoint(process, home, "later")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 130
    (checkpoint,) = (home / "data" / "runs" / "later").glob("checkpoint_*.keras")
    before = checkpoint.read_bytes()
    process = interrupt.start(home, "later", STEPS, 0, len(before) // 4)
    _, errors = process.communicate()
    assert process.returncode == 1 and f"{checkpoint.name} is kept: make room" in errors
    assert checkpoint.read_bytes() == before
    process = interrupt.start(home, "later", STEPS, 60)
    assert "resuming from step" in process.communicate()[0]
    assert_like_the_whole(home, "later")


def test_two_trainings_of_one_name_are_one_and_an_unfinished_one_can_be_heard(home, monkeypatch, capsys):
    first = interrupt.start(home, "both", 10**6)
    interrupt.wait_for_checkpoint(first, home, "both")
    second = interrupt.start(home, "both", STEPS)
    _, errors = second.communicate()
    assert second.returncode == 1
    assert "another process is training 'both'" in errors.splitlines()[-1] and first.poll() is None
    first.kill()
    first.communicate()
    monkeypatch.setattr(model_file, "RUNS", home / "data" / "runs")
    assert load_model("both").training["steps"] >= 1
    assert "the training of both has not ended" in capsys.readouterr().out
    with training_lock("both"):  # what a killed one held is free
        with pytest.raises(InputError, match="another process is training 'both'"), training_lock("both"):
            pass
        with training_lock("another"):
            pass


def test_a_kernel_interrupted_and_restarted_goes_on(home, monkeypatch):
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("NNSS_HOME", str(home))
    manager, client = start_new_kernel(kernel_name="python3")
    code = f"""
import sys
sys.path.insert(0, {str(interrupt.Path(interrupt.__file__).parent)!r})
import interrupt
from nnss_utils.instruments.pair import make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.model.settings import make_settings
from nnss_utils.scores import scale_sequence
from nnss_utils.training import train
pair = make_pair(scale_sequence(60, 64, repetitions=1, longest=0.5, sustained=0), Steinway())
train.CHECKPOINT_SECONDS = 0
train.train(pair, make_settings(name="kernel", steps={STEPS}, **interrupt.SETTINGS))
"""
    path = home / "data" / "runs" / "kernel"
    try:
        client.execute(code)
        wait_for(lambda: list(path.glob("checkpoint_*.keras")))
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)["content"]
        assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
        client.execute(code)
        time.sleep(2)
        manager.restart_kernel()  # in the middle of the training, or of making it ready
        client.wait_for_ready(timeout=60)
        assert not (path / "model.keras").exists() and list(path.glob("checkpoint_*.keras"))
        client.execute(code)
        while (reply := client.get_shell_msg(timeout=120))["parent_header"].get("msg_type") != "execute_request":
            pass
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert_like_the_whole(home, "kernel")
    assert read_json(path / "training.json")["steps"] == STEPS


def wait_for(condition, seconds=90):
    """Return when `condition` is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
