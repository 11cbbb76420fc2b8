"""A model file is data: what is altered, of another version, or holds code is refused, and nothing of it runs."""

import dataclasses
import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import fuzz
import h5py
import keras
import numpy as np
import pytest

from nnss_utils.errors import InputError
from nnss_utils.model import model_file, networks
from nnss_utils.model.model_file import load_model, save_model
from nnss_utils.model.settings import Network, build_network, make_settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def members(model, tmp_path_factory):
    """The members of a small model's file by name."""
    path = save_model(tmp_path_factory.mktemp("model") / "small.keras", model)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, members):
    """Write a model file of these members, all checksums right, and return its path as text."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def refused(path, says):
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert re.search(says, str(caught.value)) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def with_settings(members, change):
    content = json.loads(members["nnss.json"])
    change(content)
    return members | {"nnss.json": json.dumps(content)}


class Touch:
    """An object whose unpickling touches a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture
def touched(tmp_path):
    """A file that exists only if code of a model file has run."""
    path = tmp_path / "touched"
    yield path
    assert not path.exists()


def network_with_code(touched, path):
    """Write a Keras file of a network whose layer is code that touches a file when it runs, as it has run here."""
    name = str(touched)
    layer = keras.layers.Lambda(lambda x: [x, __import__("pathlib").Path(name).write_text("x")][0])
    keras.Sequential([keras.Input((4,)), layer]).save(path)
    touched.unlink()


def lambda_layer(members, touched):
    buffer = touched.with_name("lambda.keras")
    network_with_code(touched, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return members | {"config.json": archive.read("config.json")}


def class_of_its_own(members, touched):
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1] |= {"module": "builtins", "class_name": "exec", "config": {"x": "1"}}
    return members | {"config.json": json.dumps(config)}


def downloading(members, touched):
    config = json.loads(members["config.json"])
    config["config"]["layers"].append(
        {"module": "keras.utils", "class_name": "get_file", "config": {"fname": str(touched), "origin": "file:///"}}
    )
    return members | {"config.json": json.dumps(config)}


def pickled(members, touched):
    return members | {"training.pkl": pickle.dumps(Touch(touched))}


def pickled_state(members, touched):
    buffer = io.BytesIO()
    np.savez(buffer, state=np.array([Touch(touched)], dtype=object))
    return members | {"config.json": buffer.getvalue()}


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda_layer, r"it has .*keras\.layers\.Lambda"),
        (class_of_its_own, r"it has builtins\.exec"),
        (downloading, r"it has keras\.utils\.get_file"),
        (pickled, r"contains 'training.pkl', which no model here does\): not used"),
        (pickled_state, "is not a modal as this project builds it"),
    ],
)
def test_code_in_a_model_file_is_refused_and_does_not_run(members, tmp_path, touched, alter, says):
    refused(packed(tmp_path / "code.keras", alter(members, touched)), says)


def test_a_whole_keras_file_of_somebody_elses_is_refused(tmp_path, touched):
    network_with_code(touched, tmp_path / "other.keras")
    refused(str(tmp_path / "other.keras"), "is not a model of this project")


def weights_of(change):
    """Return what alters the weights' HDF5 file by `change(file, a group, the name of an array in it)`."""

    def alter(members):
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            arrays = []
            file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
            array = max(arrays, key=lambda item: item.size)
            change(file, array.parent, array.name.rsplit("/", 1)[1])
        return members | {"model.weights.h5": buffer.getvalue()}

    return alter


def not_a_number(file, group, name):
    group[name][0] = np.nan


def linked(file, group, name):
    del group[name]
    group[name] = h5py.ExternalLink("/etc/hostname", "/x")


def external(file, group, name):
    shape = group[name].shape
    del group[name]
    group.create_dataset(name, shape, "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def other_shape(file, group, name):
    del group[name]
    group[name] = np.zeros(3, np.float32)


def objects(file, group, name):
    del group[name]
    group[name] = np.array(["text"], dtype=h5py.string_dtype())


def too_many(file, group, name):
    file.create_dataset("more", (10**9,), "f4", compression="gzip", chunks=(10**6,))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (not_a_number, "not all numbers"),
        (linked, "is a link"),
        (external, "is not an array of numbers"),
        (other_shape, r"it has \d+ numbers, the network \d+"),
        (objects, "is not an array of numbers"),
        (too_many, r"it has 10000\d+ numbers, the network \d+"),
    ],
)
def test_altered_weights_are_refused(members, tmp_path, change, says):
    refused(packed(tmp_path / "weights.keras", weights_of(change)(members)), says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(format=2), r"made by another version of this project \(format 2, here 1\)"),
        (lambda c: c["settings"]["spectral"].update(wavelets=3), "of another version .*wavelets"),
        (lambda c: c["settings"].pop("network"), "of another version"),
        (lambda c: c["settings"]["network"].update(architecture="mask_of_tomorrow"), "architecture='mask_of_tomorrow'"),
        (lambda c: c["settings"]["network"].update(units=13), r"it has \d+ numbers, the network \d+"),
        (lambda c: c["settings"].update(name="../up"), "name="),
        (lambda c: c.update(level=-1), "level=-1"),
        (lambda c: c.update(level="loud"), "level='loud'"),
        (lambda c: c.update(low=90, high=20), "high=20"),
        (lambda c: c.update(longest=float("inf")), "longest=inf"),
        (lambda c: c.pop("instrument"), "instrument"),
        (lambda c: c.update(tuning={"low": 60}), "damaged"),
        (lambda c: c["tuning"]["f0"].pop(), "other keys"),
        (lambda c: c["tuning"]["f0"].__setitem__(0, float("nan")), "no frequencies"),
        (lambda c: c.update(settings=[1, 2]), "is not a model of this project"),
    ],
)
def test_altered_settings_are_refused(members, tmp_path, change, says):
    refused(packed(tmp_path / "settings.keras", with_settings(members, change)), says)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "nnss.json"])
def test_a_missing_member_is_missed(members, tmp_path, name):
    refused(packed(tmp_path / "less.keras", {k: v for k, v in members.items() if k != name}), "is not a")


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(members, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "MOST_BYTES", 1000)
    refused(packed(tmp_path / "bomb.keras", members), "unpacks to [0-9]+ MB")


def test_truncated_and_mutated_files_are_refused_or_the_same(model, tmp_path):
    outcomes = fuzz.fuzz_model(save_model(tmp_path / "whole.keras", model), 60)
    assert outcomes["refused"] > 40


def test_no_code_asks_for_pickles_or_unsafe_models():
    """Every .npy and .npz is read without pickles, every Keras file without code, and no pickle is written."""
    sources = [*(ROOT / "nnss_utils").rglob("*.py"), *ROOT.glob("notebooks/*.ipynb"), ROOT / "README.md"]
    for path in sources:
        text = path.read_text()
        for forbidden in (r"import pickle", r"\bpickle\.", r"allow_pickle=True", r"safe_mode=False", r"joblib|dill\b",
                          r"enable_unsafe_deserialization", r"torch\.load", r"\beval\(", r"\bexec\("):  # fmt: skip
            assert not re.search(forbidden, text), f"{path.name}: {forbidden}"
        for call in re.findall(r"np\.load\([^\n]*", text):
            assert "allow_pickle=False" in call, f"{path.name}: {call}"
        assert "load_model(" not in text or "keras.saving.load_model" not in text, path.name


@pytest.mark.parametrize("architecture", ["direct_blstm", "mask_dense", "mask_keyed", "direct_transformer"])
def test_a_network_larger_than_its_weights_is_not_built(members, tmp_path, monkeypatch, architecture):
    def change(content):
        content["settings"]["network"] = {"architecture": architecture, "layers": 8, "units": 8192}
        content["settings"]["spectral"]["bins"] = 0
        content["settings"]["spectral"]["frame_length"] = 4096
        content["settings"]["training"]["frames"] = 16

    monkeypatch.setattr(model_file, "build_network", lambda settings: pytest.fail("built"))
    refused(packed(tmp_path / "a.keras", with_settings(members, change)), "needs more than [0-9,]+ weights")


def test_a_small_file_makes_no_large_network(tmp_path, model):
    """Zeros pack to nothing: their number alone says little."""
    settings = make_settings(name="hollow", architecture="mask_blstm", layers=1, units=4096)
    path, hollow = tmp_path / "hollow.keras", io.BytesIO()
    with h5py.File(hollow, "w") as file:
        for name, share in (("a", 0.1), ("b", 1.0)):
            file.create_dataset(name, (int(share * 120e6),), "i1", compression="gzip", chunks=(10**6,))
        file.create_dataset("c", data=np.random.default_rng(0).integers(0, 99, 4_000_000).astype("i1"))
    with zipfile.ZipFile(save_model(tmp_path / "whole.keras", model)) as whole, zipfile.ZipFile(path, "w") as made:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "nnss.json":
                content = json.dumps(json.loads(content) | {"settings": settings.to_dict()})
            made.writestr(name, hollow.getvalue() if name == "model.weights.h5" else content)
    with pytest.raises(InputError, match=r"its network needs more than [\d,]+ weights"):
        load_model(str(path))


def lacking(model, keys, units):
    """Return a model that has tables of `keys` alone."""
    network = dataclasses.replace(model.settings.network, units=units)
    settings, heard = dataclasses.replace(model.settings, network=network), dataclasses.replace(model.heard, keys=keys)
    return dataclasses.replace(model, network=build_network(settings, *heard.tables), settings=settings, heard=heard)


def test_what_keys_without_tables_would_need_is_checked(tmp_path, model, monkeypatch):
    """Loading gives them tables: only where there is what it takes, and not of any size."""
    path, units = tmp_path / "a.keras", model.settings.network.units
    small = lacking(model, (60, 62), units)
    loaded = load_model(str(save_model(path, small)))
    assert loaded.heard.keys == (60, 61, 62, 63, 64)
    refused(str(save_model(path, lacking(model, (50, 60), units))), "tables of keys that are none")
    no_modes = dataclasses.replace(small, tuning=dataclasses.replace(small.tuning, modes=()))
    refused(str(save_model(path, no_modes)), "damaged, or of another version")
    monkeypatch.setattr(model_file, "MOST_LENT", 3 * units * model.settings.spectral.bins)
    refused(str(save_model(path, small)), "with tables of all keys its network needs more than")


@pytest.mark.parametrize("name", ["nnss.json", "config.json"])
def test_what_unpacks_to_much_more_is_not_read(members, tmp_path, monkeypatch, name):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content + b" " * 40_000_000 if member == name else content)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("read"))
    refused(str(path), f"its {name} unpacks to [0-9]+ MB")


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
def test_the_least_number_of_parameters_is_one(architecture):
    layers, units = (1, 4) if architecture.startswith("modal") else (2, 8)
    for bins in (32, 128):
        network = networks.ARCHITECTURES[architecture].build(layers, units, bins)
        assert 0 < Network(architecture, layers, units).least_parameters(bins) <= network.count_params()
