"""A model is one .keras file: network and weights as Keras saves them, and beside them `nnss.json` with the rest.

The rest is what a piece needs to be rendered: settings, the tuning (f0 and B of each key), the instrument's name,
and how the training went. A file is data, never code: of a network that Keras describes in it only the weights are
read, into the network that the settings name; no pickle, no Lambda layer, no class of a file's own.
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
import keras
import numpy as np

from nnss_utils.catalogue import ARCHITECTURES
from nnss_utils.config import Settings
from nnss_utils.errors import InputError, check_number
from nnss_utils.paths import MODELS, RUNS, safe_name, shown, whole_file
from nnss_utils.tuning import Tuning

PRETRAINED = MODELS / "steinway.keras"  # the model that the project ships
FORMAT = 1  # of nnss.json: a change that an older version can't read makes it 2

_MEMBER, _WEIGHTS, _CONFIG = "nnss.json", "model.weights.h5", "config.json"
STATE = "training.npz"  # of a checkpoint
MEMBERS = {_MEMBER, _WEIGHTS, _CONFIG, "metadata.json", STATE}
MOST_BYTES = 4e9  # of a file's members, unpacked
MOST_GROUPS = 10_000  # of an HDF5 file, which may hold itself
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)  # what reading raises


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


def save_model(path: Path, model: TrainedModel, more: Mapping[str, bytes] = {}) -> Path:
    """Write a model as one .keras file, whole or not at all, and return the path; `more`: further members.

    Raises `InputError` for weights that are not numbers, and `OSError` where nothing can be written.
    """
    if not all(np.isfinite(np.asarray(weight)).all() for weight in model.network.weights):
        raise InputError(f"the weights of {model.name} are no longer numbers; train it with a lower learning_rate")
    content = {
        "format": FORMAT,
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
            for name, value in more.items():
                archive.writestr(name, value, zipfile.ZIP_STORED)
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
    unfinished = sorted((RUNS / name).glob("checkpoint_*.keras"), key=lambda path: path.stat().st_mtime)
    for path in (run_file(name), MODELS / f"{name}.keras", *unfinished[-1:]):
        if path.is_file():
            if path in unfinished:
                print(f"the training of {name} has not ended: {shown(path)} is what it has learnt so far")
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
            names = archive.namelist()
            strange = sorted(set(names) - MEMBERS)
            if strange or len(set(names)) < len(names):
                raise InputError(
                    f"{shown(path)} holds {(strange or sorted(names))[0]!r:.80}, as no model here does: not used"
                )
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise InputError(
                    f"{shown(path)} unpacks to more than {MOST_BYTES / 1e9:g} GB, as no model here does: not used"
                )
            content = json.loads(archive.read(_MEMBER))
            str(content["settings"]["name"]), dict(content["training"])  # what every model has
    except InputError:
        raise
    except (*DAMAGED, KeyError, TypeError, ValueError):
        raise InputError(
            f"{shown(path)} is not a model of this project, or not whole; train one with 05_train"
        ) from None
    return content


def load_model(name: str) -> TrainedModel:
    """Return the model called `name`; raises `InputError` if there is none, or its file is damaged or not a model's.

    The network is built from the settings, and takes nothing but numbers from the file.
    """
    path = find_model(name)
    content = read_metadata(path)
    made = content.get("format", 1)
    if made != FORMAT:
        raise InputError(
            f"{shown(path)} was made by another version of this project (format {made!r:.20}, here {FORMAT}); "
            "use that version, or train it again"
        )
    try:
        settings = Settings.from_dict(content["settings"])
        tuning = _tuning(content["tuning"])
        rest = [content[key] for key in ("level", "instrument", "low", "high", "longest", "training")]
        _check_rest(*rest, tuning)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{shown(path)} is damaged, or of another version ({reason:.200}); train it again") from None
    network = ARCHITECTURES[settings.network.architecture].build(
        settings.network.layers, settings.network.units, settings.spectral.bins
    )
    load_weights(network, path)
    return TrainedModel(network, settings, tuning, *rest)


def load_weights(network: keras.Model, path: Path) -> None:
    """Put a model file's weights into a network of the same kind; raises `InputError`, the network perhaps changed.

    What the file says beside them must be such a network, and its HDF5 member plain arrays of numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            described, weights = json.loads(archive.read(_CONFIG)), archive.read(_WEIGHTS)
        own = set(_classes(json.loads(network.to_json())))
        strange = sorted(set(_classes(described)) - own)
        if strange:
            raise ValueError(f"it has {', '.join(f'{module}.{name}' for module, name in strange):.100}")
        _check_arrays(weights, network.count_params())
        with tempfile.TemporaryDirectory() as folder:  # what was checked, and at once: Keras would seek in the archive
            Path(folder, _WEIGHTS).write_bytes(weights)
            network.load_weights(Path(folder, _WEIGHTS))
    except (*DAMAGED, KeyError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{shown(path)} is not a {network.name} as this project builds it ({reason:.200}): nothing of it was used; "
            "train it again"
        ) from None


def _classes(content: object) -> Iterator[tuple[str, str]]:
    """Yield (module, class) of every object that Keras' description of a network has."""
    if isinstance(content, dict):
        if "class_name" in content:
            yield str(content.get("module")), str(content["class_name"])
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _classes(part)


def _check_arrays(weights: bytes, parameters: int) -> None:
    """Raise ValueError unless an HDF5 file's bytes hold arrays of real numbers, all finite, and nothing else.

    HDF5 could name other files, or unpack to any size.
    """
    with h5py.File(io.BytesIO(weights), "r") as file:
        groups, seen, numbers = [file], 0, 0
        while groups and numbers <= parameters:
            group, seen = groups.pop(), seen + 1
            if seen > MOST_GROUPS:
                raise ValueError("it has groups without end")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name!r:.60} in it is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.external or item.is_virtual or item.dtype.kind not in "fiu":
                    raise ValueError(f"{name!r:.60} in it is no array of numbers")
                numbers += item.size
                if numbers > parameters:
                    break
                if not np.isfinite(item[()]).all():
                    raise ValueError("its weights are not all numbers")
    if numbers != parameters:  # Keras would leave what it does not find as it was
        raise ValueError(f"it has {numbers} numbers, the network {parameters}")


def _check_rest(
    level: float, instrument: str, low: int, high: int, longest: float, training: dict, tuning: Tuning | None
) -> None:
    """Raise `InputError` or TypeError unless a model's own numbers make sense."""
    check_number("level", level, 1e-12, 1e12)
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
    if not tuning.low <= low <= high <= tuning.high or {len(tuning.f0)} != {
        len(tuning.inharmonicity),
        len(tuning.measured),
    }:
        raise ValueError("its tuning has other keys than the network")


def _tuning(content: dict | None) -> Tuning | None:
    if content is None:
        return None
    measured = tuple(tuple(key) for key in content["measured"])
    return Tuning(content["low"], tuple(content["f0"]), tuple(content["inharmonicity"]), measured)
