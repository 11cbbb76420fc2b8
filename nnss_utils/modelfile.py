"""A model is one .keras file: network and weights as Keras saves them, and beside them `nnss.json` with the rest.

The rest is what a piece needs to be rendered: settings, the tuning (f0 and B of each key), the instrument's name,
and how the training went. No pickle anywhere; a model is used by its name and nothing else.
"""

import dataclasses
import io
import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras

from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.paths import MODELS, RUNS, safe_name, shown, whole_file
from nnss_utils.tuning import Tuning

PRETRAINED = MODELS / "steinway.keras"  # the model that the project ships

_MEMBER, _WEIGHTS = "nnss.json", "model.weights.h5"


@dataclass(frozen=True)
class TrainedModel:
    """A network with all that its use needs: `level` is the unit of its outputs, low..high its pitches.

    `longest`: seconds from a note's start to the latest moment that training has seen.
    """

    network: keras.Model
    settings: Settings
    tuning: Tuning | None
    level: float
    instrument: str
    low: int
    high: int
    longest: float
    training: dict

    @property
    def name(self) -> str:
        """The name it was trained under."""
        return self.settings.name


def save_model(path: Path, model: TrainedModel) -> Path:
    """Write a model as one .keras file, whole or not at all, and return the path."""
    content = {
        "settings": model.settings.to_dict(),
        "tuning": dataclasses.asdict(model.tuning) if model.tuning else None,
        "level": model.level,
        "instrument": model.instrument,
        "low": model.low,
        "high": model.high,
        "longest": model.longest,
        "training": model.training,
    }
    with whole_file(path) as part:
        model.network.save(part)
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_MEMBER, json.dumps(content, allow_nan=False))
    return path


def save_small_model(path: Path, model: TrainedModel) -> Path:
    """Write a model as `save_model` does, but weights as float16 and everything deflated: a quarter of the size.

    A float16 holds a weight to 1 part in 2000 (66 dB); Keras turns it back into float32 when it loads the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = save_model(Path(folder) / path.name, model)
        with (
            whole_file(path) as part,
            zipfile.ZipFile(whole) as source,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as small,
        ):
            for member in source.namelist():
                content = source.read(member)
                small.writestr(member, _half(content) if member == _WEIGHTS else content)
    return path


def _half(weights: bytes) -> bytes:
    """Return an HDF5 file's bytes with every float32 dataset as float16."""
    out = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(out, "w") as small:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                made = small.require_group(name)
            else:
                made = small.create_dataset(
                    name, data=item[()].astype("float16" if item.dtype == "float32" else item.dtype)
                )
            made.attrs.update(item.attrs)

        source.visititems(copy)
        small.attrs.update(source.attrs)
    return out.getvalue()


def find_model(name: str) -> Path:
    """Return the file of the model called `name` (or at that path); raises `InputError` if there is none."""
    if isinstance(name, str) and name.endswith(".keras"):
        if Path(name).is_file():
            return Path(name)
        raise InputError(f"model file {name} does not exist; give a model's name or the path of a .keras file")
    safe_name(name, "model")
    for path in (run_file(name), MODELS / f"{name}.keras"):
        if path.is_file():
            return path
    known = ", ".join(model_names()) or "none yet: run notebook 05_train first"
    raise InputError(f"model {name!r} does not exist; known models: {known}")


def run_file(name: str) -> Path:
    """Return where training puts the model called `name`."""
    return RUNS / name / "model.keras"


def model_names() -> list[str]:
    """Return the names of all models that can be loaded, pretrained and trained here."""
    trained = [path.parent.name for path in RUNS.glob("*/model.keras")]
    return sorted({*trained, *(path.stem for path in MODELS.glob("*.keras"))})


def read_metadata(path: Path) -> dict:
    """Return what `nnss.json` inside a model file says; raises `InputError` if it is not a model of this project."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(_MEMBER))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        raise InputError(f"{shown(path)} is not a model of this project; train one with notebook 05_train") from None


def load_model(name: str) -> TrainedModel:
    """Return the model called `name`; raises `InputError` if there is none or its file is damaged."""
    path = find_model(name)
    content = read_metadata(path)
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
        settings = Settings.from_dict(content["settings"])
        tuning = _tuning(content["tuning"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{shown(path)} can't be read as a model ({reason}); train it again") from None
    rest = [content[key] for key in ("level", "instrument", "low", "high", "longest", "training")]
    return TrainedModel(network, settings, tuning, *rest)


def _tuning(content: dict | None) -> Tuning | None:
    if content is None:
        return None
    measured = tuple(tuple(key) for key in content["measured"])
    return Tuning(content["low"], tuple(content["f0"]), tuple(content["inharmonicity"]), measured)
