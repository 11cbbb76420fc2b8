"""Networks train and render on Keras' other backends, and in mixed precision."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils.midi import Note
from nnss_utils.paths import ROOT
from nnss_utils.synthesis.render import render
from nnss_utils.training import train

OTHERS = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]

SCRIPT = """
import keras, numpy as np
from nnss_utils.instruments.pair import Pair
from nnss_utils.midi import Note
from nnss_utils.model.settings import make_settings
from nnss_utils.synthesis.render import render
from nnss_utils.training import train
notes = tuple(Note(float(i), i + 0.5, 60 + i) for i in range(5))
time = np.arange(6 * 44100) / 44100
audio = sum(np.where(time >= n.start, 0.3 * np.sin(2 * np.pi * 440 * 2 ** ((n.pitch - 69) / 12) * (time - n.start))
            * np.exp(-6 * np.maximum(time - n.start, 0)), 0) for n in notes).astype(np.float32)
for name, sizes in (("mask_keyed", (8, 10, 4)), ("mask_blstm", (8, 8, 8))):
    settings = make_settings(architecture=name, name=name, steps=12, holdout=0.0, seconds=500,
                             **dict(zip(("units", "batch", "frames"), sizes)))
    model = train.train(Pair(notes, audio, "sines", "sines"), settings)
    sound = render([Note(0.0, 0.3, 62)], model, progress=False)
    assert np.isfinite(sound).all() and np.abs(sound).max() > 0 and np.isfinite(model.training["train_loss"])
print("backend", keras.backend.backend())
"""


def test_what_the_script_imports_exists():
    """So that it is not out of date where no second backend is installed."""
    lines = [line for line in SCRIPT.splitlines() if line.startswith("from nnss_utils")]
    assert len(lines) == 5
    exec("\n".join(lines), {})


@pytest.mark.skipif(not OTHERS, reason="no second backend is installed: neither jax nor torch")
def test_a_second_backend_trains_and_renders(tmp_path):
    env = {**os.environ, "KERAS_BACKEND": OTHERS[0], "NNSS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, env=env)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.endswith(f"backend {OTHERS[0]}\n")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_keeps_weights_as_float32(pair, precision):
    model = train.train(pair, small_settings(name=precision, precision=precision, steps=20))
    exact = train.train(pair, small_settings(name="exact", steps=20))
    assert {weight.dtype for weight in model.network.trainable_weights} == {"float32"}
    assert any(layer.compute_dtype == precision.removeprefix("mixed_") for layer in model.network.layers)
    assert model.training["train_loss"] == pytest.approx(exact.training["train_loss"], rel=0.05)
    assert np.isfinite(render([Note(0.0, 0.3, 62)], model, progress=False)).all()
