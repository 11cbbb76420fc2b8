"""A model is one .keras file: network and weights as Keras saves them, and `nnss.json` with everything else.

`nnss.json` holds what rendering needs: settings, tuning (f0 and B of each key), the instrument's name, and a record of
the training. A file is data, never code: only the weights are read, into the network that the settings describe; no
pickle, no Lambda layer, no class from the file.
"""

import dataclasses
import io
import json
import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from nnss_utils.errors import InputError, check_number
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.model.backend import keras
from nnss_utils.model.settings import Settings, build_network
from nnss_utils.paths import MODELS, RUNS, atomic_write, relative, safe_name

PRETRAINED = MODELS / "steinway.keras"  # the model that the project ships
FORMAT = 1  # of nnss.json: a change that an older version can't read makes it 2

_CONTENT, WEIGHTS, _CONFIG = "nnss.json", "model.weights.h5", "config.json"
STATE = "training.npz"  # of a checkpoint
MEMBERS = {_CONTENT, WEIGHTS, _CONFIG, "metadata.json", STATE}
MOST_BYTES = 4e9  # of a file's members, unpacked
MOST_GROUPS = 10_000  # of an HDF5 file, which may contain itself
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)  # what reading raises
MOVED = {"nnss_utils.recurrent": "nnss_utils.model.recurrent"}  # modules that older files name


@dataclass(frozen=True)
class TrainedModel:
    """A network with all that its use needs.

    output_scale: unit of its outputs; low, high: its range of MIDI pitches; longest: seconds from a note's start to
    the latest moment that training has seen; training: the record of its training.
    """

    network: keras.Model
    settings: Settings
    tuning: Tuning | None
    output_scale: float
    instrument: str
    low: int
    high: int
    longest: float
    training: dict

    @property
    def name(self) -> str:
        """The name it was trained under."""
        return self.settings.name


def save_model(path: Path, model: TrainedModel, more: Mapping[str, bytes] = {}) -> Path:
    """Write a model as one .keras file, whole or not at all, and return the path; `more`: further members.

    Raises `InputError` for weights that are not finite, and `OSError` where nothing can be written.
    """
    if not all(np.isfinite(np.asarray(weight)).all() for weight in model.network.weights):
        raise InputError(f"the weights of {model.name} are no longer numbers; train it with a lower learning_rate")
    content = {
        "format": FORMAT,
        "settings": model.settings.to_dict(),
        "tuning": dataclasses.asdict(model.tuning) if model.tuning else None,
        "level": model.output_scale,
        **{key: getattr(model, key) for key in ("instrument", "low", "high", "longest", "training")},
    }
    with atomic_write(path) as part:
        model.network.save(part)
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_CONTENT, json.dumps(content, allow_nan=False))
            for name, value in more.items():
                archive.writestr(name, value, zipfile.ZIP_STORED)
    return path


def find_model(name: str) -> Path:
    """Return the file of the model called `name` (or at that path); raises `InputError` if there is none.

    The name of a training that has not ended stands for its last checkpoint, which a printed line says.
    """
    if isinstance(name, str) and name.endswith(".keras"):
        if Path(name).is_file():
            return Path(name)
        raise InputError(f"model file {name} does not exist; give a model's name or the path of a .keras file")
    safe_name(name, "model")
    unfinished = sorted((RUNS / name).glob("checkpoint_*.keras"), key=lambda path: path.stat().st_mtime)
    for path in (run_file(name), MODELS / f"{name}.keras", *unfinished[-1:]):
        if path.is_file():
            if path in unfinished:
                print(f"the training of {name} has not ended: {relative(path)} is its last checkpoint")
            return path
    known = ", ".join(model_names()) or "none yet: run notebook 05_train first"
    raise InputError(f"model {name!r} does not exist; known models: {known}")


def run_file(name: str) -> Path:
    """Return the path of the model that a training called `name` makes."""
    return RUNS / name / "model.keras"


def model_names() -> list[str]:
    """Return the names of all models that can be loaded, shipped and trained here."""
    trained = [path.parent.name for path in RUNS.glob("*/model.keras")]
    return sorted({*trained, *(path.stem for path in MODELS.glob("*.keras"))})


def read_metadata(path: Path) -> dict:
    """Return the content of `nnss.json` in a model file; raises `InputError` if it is not a model of this project."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unknown = sorted(set(names) - MEMBERS)
            if unknown or len(set(names)) < len(names):
                raise InputError(
                    f"{relative(path)} contains {(unknown or sorted(names))[0]!r:.80}, which no model here does: "
                    "not used"
                )
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise InputError(f"{relative(path)} unpacks to more than {MOST_BYTES / 1e9:g} GB: not used")
            content = json.loads(archive.read(_CONTENT))
            str(content["settings"]["name"]), dict(content["training"])  # what every model has
    except InputError:
        raise
    except (*DAMAGED, KeyError, TypeError, ValueError):
        raise InputError(
            f"{relative(path)} is not a model of this project, or is incomplete; train one with 05_train"
        ) from None
    return content


def load_model(name: str) -> TrainedModel:
    """Return the model called `name`, or at that path.

    The network is built from the settings and takes only numbers from the file. Raises `InputError` if there is no
    such model, or its file is damaged or not a model's.
    """
    path = find_model(name)
    content = read_metadata(path)
    made = content.get("format", 1)
    if made != FORMAT:
        raise InputError(
            f"{relative(path)} was made by another version of this project (format {made!r:.20}, here {FORMAT}); "
            "use that version, or train it again"
        )
    try:
        settings = Settings.from_dict(content["settings"])
        tuning = _tuning(content["tuning"])
        rest = [content[key] for key in ("level", "instrument", "low", "high", "longest", "training")]
        _check_content(*rest, tuning)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{relative(path)} is damaged, or of another version ({reason:.200}); train it again"
        ) from None
    network = build_network(settings)
    load_weights(network, path)
    return TrainedModel(network, settings, tuning, *rest)


def load_weights(network: keras.Model, path: Path) -> None:
    """Put a model file's weights into a network of the same kind; raises `InputError`, perhaps after some weights.

    The file must describe such a network, and its HDF5 member must hold plain arrays of numbers only.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            described, weights = json.loads(archive.read(_CONFIG)), archive.read(WEIGHTS)
        own = set(_classes(json.loads(network.to_json())))
        unknown = sorted(set(_classes(described)) - own)
        if unknown:
            raise ValueError(f"it has {', '.join(f'{module}.{name}' for module, name in unknown):.100}")
        _check_arrays(weights, network.count_params())
        with tempfile.TemporaryDirectory() as folder:  # only what was checked; and Keras reads a plain file faster
            Path(folder, WEIGHTS).write_bytes(weights)
            network.load_weights(Path(folder, WEIGHTS))
    except (*DAMAGED, KeyError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{relative(path)} is not a {network.name} as this project builds it ({reason:.200}): not used; "
            "train it again"
        ) from None


def _classes(content: object) -> Iterator[tuple[str, str]]:
    """Yield (module, class) of every object in Keras' description of a network."""
    if isinstance(content, dict):
        if "class_name" in content:
            module = str(content.get("module"))
            yield MOVED.get(module, module), str(content["class_name"])
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _classes(part)


def _check_arrays(weights: bytes, parameters: int) -> None:
    """Raise ValueError unless an HDF5 file's bytes hold arrays of finite real numbers only, `parameters` in all.

    HDF5 could name other files, or unpack to any size.
    """
    with h5py.File(io.BytesIO(weights), "r") as file:
        groups, seen, numbers = [file], 0, 0
        while groups and numbers <= parameters:
            group, seen = groups.pop(), seen + 1
            if seen > MOST_GROUPS:
                raise ValueError("it has endless groups")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name!r:.60} in it is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.external or item.is_virtual or item.dtype.kind not in "fiu":
                    raise ValueError(f"{name!r:.60} in it is not an array of numbers")
                numbers += item.size
                if numbers > parameters:
                    break
                if not np.isfinite(item[()]).all():
                    raise ValueError("its weights are not all numbers")
    if numbers != parameters:  # Keras would leave missing weights as they are
        raise ValueError(f"it has {numbers} numbers, the network {parameters}")


def _check_content(
    output_scale: float, instrument: str, low: int, high: int, longest: float, training: dict, tuning: Tuning | None
) -> None:
    """Raise `InputError`, TypeError or ValueError unless a model's own numbers make sense."""
    check_number("level", output_scale, 1e-12, 1e12)
    check_number("low", low, 0, 127, integer=True)
    check_number("high", high, low, 127, integer=True)
    check_number("longest", longest, 1e-3, 1e6)
    if not isinstance(instrument, str) or not isinstance(training, dict):
        raise TypeError("its instrument or its training record is missing")
    if tuning is None:
        return
    numbers = [*tuning.f0, *tuning.inharmonicity, *(partial for key in tuning.measured for partial in key)]
    if not all(isinstance(x, (int, float)) and math.isfinite(x) and x >= 0 for x in numbers) or 0 in tuning.f0:
        raise ValueError("its tuning has no frequencies")
    keys = {len(tuning.f0), len(tuning.inharmonicity), len(tuning.measured)}
    if len(keys) > 1 or not tuning.low <= low <= high <= tuning.high:
        raise ValueError("its tuning has other keys than the network")


def _tuning(content: dict | None) -> Tuning | None:
    if content is None:
        return None
    measured = tuple(tuple(key) for key in content["measured"])
    return Tuning(content["low"], tuple(content["f0"]), tuple(content["inharmonicity"]), measured)
