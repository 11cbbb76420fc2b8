"""A model is one .keras file: network and weights as Keras saves them, and `nnss.json` with everything else.
`nnss.json` holds settings, tuning, the instrument's name, and a record of the training. A file is data, never code:
only the weights are read, into the network that the settings describe; no pickle, no Lambda layer, no class."""

import contextlib
import dataclasses
import itertools
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nnss_utils.errors import InputError, check_number
from nnss_utils.hdf5_file import count_numbers, unpacked
from nnss_utils.instruments.dynamics import Dynamics
from nnss_utils.instruments.modes import MODES
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.model.backend import keras
from nnss_utils.model.inputs import Heard
from nnss_utils.model.missing_keys import borrow_keys
from nnss_utils.model.settings import Settings, build_network
from nnss_utils.model.trained import TrainedModel
from nnss_utils.paths import MODELS, RUNS, atomic_write, existing_file, relative, run_file, safe_name

FORMAT = 1  # of nnss.json: a change that an older version can't read makes it 2
_CONTENT, WEIGHTS, _CONFIG = "nnss.json", "model.weights.h5", "config.json"
STATE = "training.npz"  # of a checkpoint
MEMBERS = {_CONTENT, WEIGHTS, _CONFIG, "metadata.json", STATE}
MOST_BYTES, MOST_TEXT = 4e9, 1e6  # of a file's members, unpacked; of those that are JSON
MOST_PACKED = {WEIGHTS: 8, STATE: 8}  # times that a member may be larger than in the file: weights to a fifth at most
MOST_PACKED_TEXT = 30  # the same of JSON
MOST_NUMBERS, MOST_LENT = 10e6, 60e6  # of a network, and two for each byte of its file; with tables of all keys
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)  # what reading raises
MOVED = {"nnss_utils.recurrent": "nnss_utils.model.recurrent"}  # modules that older files name


def save_model(path: Path, model: TrainedModel, more: Mapping[str, bytes] = {}) -> Path:
    """Write a model and `more` members as one .keras file, whole or not at all, and return the path. Raises
    `InputError` for weights that are not finite, and `OSError` where nothing can be written."""
    if not all(np.isfinite(np.asarray(weight)).all() for weight in model.network.weights):
        raise InputError(f"the weights of {model.name} are no longer numbers; train it with a lower learning_rate")
    content = {
        "format": FORMAT, "settings": model.settings.to_dict(),
        "tuning": dataclasses.asdict(model.tuning) if model.tuning else None, "level": model.output_scale,
        "longest": max(model.heard.seconds), "heard": dataclasses.asdict(model.heard),
        **{key: getattr(model, key) for key in ("instrument", "low", "high", "training")},
    }  # fmt: skip
    with atomic_write(path) as part:
        model.network.save(part)
        with zipfile.ZipFile(part, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_CONTENT, json.dumps(content, allow_nan=False))
            for name, value in more.items():
                archive.writestr(name, value, zipfile.ZIP_STORED)
    return path


def find_model(name: str) -> Path:
    """Return the file of the model called `name`, or at that path; during its training, its last checkpoint."""
    if isinstance(name, str) and name.endswith(".keras"):
        return existing_file(name, "model file")
    safe_name(name, "model")
    for path in (run_file(name), MODELS / f"{name}.keras"):
        if path.is_file():
            return path
    checkpoints = (RUNS / name).glob("checkpoint_*.keras")
    if last := max(checkpoints, key=lambda path: path.stat().st_mtime, default=None):
        print(f"the training of {name} has not ended: {relative(last)} is its last checkpoint")
        return last
    known = ", ".join(model_names()) or "none yet: run notebook 05_train first"
    raise InputError(f"model {name!r} does not exist; known models: {known}")


def model_names() -> list[str]:
    """Return the names of all models that can be loaded, shipped and trained here."""
    trained = [path.parent.name for path in RUNS.glob("*/model.keras")]
    return sorted({*trained, *(path.stem for path in MODELS.glob("*.keras"))})


@contextlib.contextmanager
def _refusing(path: Path, sentence: str) -> Iterator[None]:
    """Turn any error that a damaged or hostile file raises in the block into an `InputError` of one line."""
    try:
        yield
    except (*DAMAGED, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{relative(path)} is {sentence} ({reason:.200}): not used; train it again") from None


def read_metadata(path: Path) -> dict:
    """Return the content of `nnss.json` in a model file; raises `InputError` if it is not a model of this project."""
    with _refusing(path, "not a model of this project, or incomplete"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if (unknown := sorted(set(names) - MEMBERS)) or len(set(names)) < len(names):
            raise ValueError(f"it contains {(unknown or sorted(names))[0]!r:.80}, which no model here does")
        if WEIGHTS not in names:
            raise ValueError(f"its {WEIGHTS} is missing")
        for member in archive.infolist():
            most = MOST_BYTES if member.filename in MOST_PACKED else MOST_TEXT
            packed = MOST_PACKED.get(member.filename, MOST_PACKED_TEXT) * member.compress_size
            if member.file_size > min(most, packed + 1e6):
                raise ValueError(f"its {member.filename} unpacks to {member.file_size / 1e6:.0f} MB")
        content = json.loads(archive.read(_CONTENT))
        str(content["settings"]["name"]), dict(content["training"])  # what every model has
    return content


def load_model(name: str) -> TrainedModel:
    """Return the model called `name`, or at that path; raises `InputError` if it is missing or damaged. A modal
    network's file has tables of the keys that were heard: the others get theirs here."""
    path = find_model(name)
    content = read_metadata(path)
    made = content.get("format", 1)
    if made != FORMAT:
        versions = f"another version of this project (format {made!r:.20}, here {FORMAT})"
        raise InputError(f"{relative(path)} was made by {versions}; use that version, or train it again")
    with _refusing(path, "damaged, or of another version"):
        settings = Settings.from_dict(content["settings"])
        keys = ("level", "instrument", "low", "high", "training")
        level, instrument, low, high, training = (content[key] for key in keys)
        check_number("level", level, 1e-12, 1e12)
        check_number("low", low, 0, 127, integer=True)
        check_number("high", high, low, 127, integer=True)
        heard = _heard(content, low, high)
        if not isinstance(instrument, str) or not isinstance(training, dict):
            raise TypeError("its instrument or its training record is missing")
        tuning = _tuning(content["tuning"], low, high)
        least = settings.network.least_parameters(settings.spectral.bins, *heard.tables)
        with unpacked(path, WEIGHTS) as weights:
            if min(*count_numbers(weights), MOST_NUMBERS + 2 * path.stat().st_size) < least:
                raise ValueError(f"its network needs more than {least:,} weights")
        lent = settings.network.least_parameters(settings.spectral.bins, high + 1 - low, heard.tables[1])
        if settings.network.kind.modes and lent > MOST_LENT:
            raise ValueError(f"with tables of all keys its network needs more than {lent:,} weights")
    network = build_network(settings, *heard.tables)
    load_weights(network, path)
    with _refusing(path, "damaged, or of another version"):
        return borrow_keys(TrainedModel(network, settings, tuning, level, instrument, low, high, heard, training))


def load_weights(network: keras.Model, path: Path) -> None:
    """Put a model file's weights into a network of the same kind; raises `InputError`, perhaps after some weights."""
    with _refusing(path, f"not a {network.name} as this project builds it"):
        with zipfile.ZipFile(path) as archive:
            described = archive.read(_CONFIG)
        if unknown := sorted(_classes(described) - _classes(network.to_json())):
            raise ValueError(f"it has {', '.join(f'{module}.{name}' for module, name in unknown):.100}")
        with unpacked(path, WEIGHTS) as weights:
            parameters = network.count_params()
            numbers, _ = count_numbers(weights, parameters)
            if numbers != parameters:  # Keras would leave missing weights as they are
                raise ValueError(f"it has {numbers} numbers, the network {parameters}")
            network.load_weights(weights)
        if not all(np.isfinite(np.asarray(weight)).all() for weight in network.weights):
            raise ValueError("its weights are not all numbers")


def _classes(description: str | bytes) -> set[tuple[str, str]]:
    """Return (module, class) of every object in Keras' description of a network, JSON."""
    found = set()

    def collect(content: dict) -> None:
        if "class_name" in content:
            module = str(content.get("module"))
            found.add((MOVED.get(module, module), str(content["class_name"])))

    json.loads(description, object_hook=collect)
    return found


def _heard(content: dict, low: int, high: int) -> Heard:
    """Return what the model of a file has heard; raise ValueError unless it holds seconds for low..high. A model of an
    earlier version tells the longest duration alone, or has tables of all pitches."""
    check_number("longest", content["longest"], 1e-3, 1e6)
    every = {"low": low, "seconds": [content["longest"]] * (high + 1 - low), "velocities": [1, 127]}
    found = content.get("heard", every)
    keys = tuple(found.get("keys", Heard.keys))
    heard = Heard(found["low"], tuple(found["seconds"]), tuple(found["velocities"]), keys, _dynamics(found, low, high))
    if heard.low > low or heard.low + len(heard.seconds) <= high:
        raise ValueError("it has heard other keys than its range")
    inside = range(low, high + 1) if len(keys) < len(Heard.keys) else Heard.keys
    if not keys or keys != tuple(sorted(set(keys) & set(inside))):
        raise ValueError("it has tables of keys that are none")
    for seconds in heard.seconds:
        check_number("seconds", seconds, 1e-6, 1e6)
    softest, loudest = heard.velocities
    check_number("velocities", softest, 1, 127, integer=True)
    check_number("velocities", loudest, softest, 127, integer=True)
    return heard


def _dynamics(heard: dict, low: int, high: int) -> Dynamics | None:
    """Return the dynamics of what a file's model has heard; raise ValueError unless they hold levels for low..high."""
    if heard.get("dynamics") is None:
        return None
    found = heard["dynamics"]
    rows = (tuple(map(tuple, found[name])) for name in ("levels", "alike"))
    dynamics = Dynamics(found["low"], tuple(found["velocities"]), *rows)
    if dynamics.low > low or dynamics.low + len(dynamics.levels) <= high:
        raise ValueError("it has the levels of other keys than its range")
    return dynamics


def _tuning(content: dict | None, low: int, high: int) -> Tuning | None:
    """Return the tuning of a file; raise ValueError unless it holds frequencies for low..high."""
    if content is None:
        return None
    f0, inharmonicity, measured = tuple(content["f0"]), tuple(content["inharmonicity"]), content["measured"]
    modes = tuple(map(tuple, content.get("modes", ())))
    tuning = Tuning(content["low"], f0, inharmonicity, tuple(map(tuple, measured)), modes)
    numbers = itertools.chain(f0, inharmonicity, *measured, *modes)
    if not all(isinstance(x, (int, float)) and 0 <= x < 1e9 for x in numbers) or 0 in f0:
        raise ValueError("its tuning has no frequencies")
    if any(len(of_key) > MODES for of_key in modes):
        raise ValueError(f"its tuning has keys with more than {MODES} modes")
    alike = len(f0) == len(inharmonicity) == len(measured) == (len(modes) or len(f0))
    if not alike or not tuning.low <= low <= high <= tuning.high:
        raise ValueError("its tuning has other keys than the network")
    return tuning
