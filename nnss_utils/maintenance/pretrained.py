"""The shipped model, data/models/steinway.keras, made by `python -m nnss_utils.maintenance.pretrained [MIDI ...]`. It
is notebook 05's default network, trained for longer; the file records how it was made and what it reaches on the
project's scores and the given MIDI files."""

import dataclasses
import io
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from nnss_utils.errors import InputError, exit_with
from nnss_utils.evaluation.test_set import measure_pieces
from nnss_utils.instruments.pair import make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.model.model_file import WEIGHTS, TrainedModel, load_model, save_model
from nnss_utils.model.settings import make_settings
from nnss_utils.paths import PRETRAINED, atomic_write, relative
from nnss_utils.scores import SCORES, scale_sequence
from nnss_utils.training.train import is_trained, train

# there is time for a new batch in every step
LONGER = {"units": 32, "batch": 48, "steps": 10000, "seconds": 1800.0, "echo": 1}
PARAMETERS = " ".join(f"-p {name} {value}" for name, value in LONGER.items())
COMMAND = f"papermill 05_train.ipynb out.ipynb -p name steinway {PARAMETERS}"
LARGEST = 12e6  # bytes
BITS = 9  # of a weight's significand: 1 part in 1000 (60 dB); a float16 has 11, two zeros of which take no space


def main(midis: list[str]) -> None:
    """Train the network unless it is trained, round it, measure it, and write it with its measures."""
    pair = make_pair(scale_sequence(), Steinway())
    settings = make_settings(name=PRETRAINED.stem, **LONGER)
    model = load_model(settings.name) if is_trained(settings, pair) else train(pair, settings)
    save_small_model(PRETRAINED, dataclasses.replace(model, training=model.training | {"command": COMMAND}))
    small = load_model(str(PRETRAINED))
    measures = measure_pieces(small, [*SCORES, *midis])["worst"]
    save_small_model(PRETRAINED, dataclasses.replace(small, training=small.training | {"measures": measures}))
    size = PRETRAINED.stat().st_size
    print(f"{relative(PRETRAINED)}: {size / 1e6:.1f} MB; worst of {len(SCORES) + len(midis)} pieces: {measures}")
    if size > LARGEST:
        raise InputError(f"{relative(PRETRAINED)} has {size:,} bytes, more than {LARGEST:,.0f}; give fewer units")


def save_small_model(path: Path, model: TrainedModel) -> Path:
    """Write a model as `save_model` does, with rounded float16 weights and everything compressed: a third of the size.
    Loading turns them back into float32."""
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as part:
        full = save_model(Path(folder) / path.name, model)
        with (
            zipfile.ZipFile(full) as source,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as small,
        ):
            for member in source.namelist():
                content = source.read(member)
                small.writestr(member, _compact(content) if member == WEIGHTS else content)
    return path


def rounded(x: np.ndarray) -> np.ndarray:
    """Return the float32 or float64 numbers nearest to x (...) with BITS significant bits."""
    significand, exponent = np.frexp(x)
    return np.ldexp(np.round(significand * 2**BITS) / 2**BITS, exponent).astype(x.dtype)


def _compact(weights: bytes) -> bytes:
    out = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(out, "w") as small:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                made = small.require_group(name)
            else:
                stored = rounded(item[()]).astype(np.float16) if item.dtype == np.float32 else item[()]
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if stored.ndim else {}
                made = small.create_dataset(name, data=stored, **packed)
            made.attrs.update(item.attrs)

        source.visititems(copy)
        small.attrs.update(source.attrs)
    return out.getvalue()


if __name__ == "__main__":
    exit_with(main)
