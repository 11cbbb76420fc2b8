"""Checked settings: flat parameters for the user, small frozen dataclasses for the code."""

import dataclasses
from dataclasses import dataclass

from nnss_utils.dsp.normalization import check_power
from nnss_utils.dsp.stft import Spectral
from nnss_utils.errors import InputError, check_choice, check_number
from nnss_utils.midi import PITCHES
from nnss_utils.model.backend import keras
from nnss_utils.model.codification import Codification
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.networks import ARCHITECTURES, Architecture
from nnss_utils.paths import safe_name

# at 0: the architecture's own
SIZES = ("frame_step", "layers", "units", "batch", "frames", "steps", "learning_rate", "echo")
# name -> the parameters that differ from the defaults; seed: the author's method, at a batch and frames for a CPU
PRESETS = {"seed": {
    "codification": "two_sines", "heterodyne": False, "frame_step": 1, "power": 1 / 8, "architecture": "direct_blstm",
    "layers": 2, "units": 1000, "batch": 16, "frames": 32, "learning_rate": 1e-3,
}}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """Which network: architecture, number of hidden layers, units in each."""

    architecture: str
    layers: int
    units: int

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, tuple(ARCHITECTURES))
        check_number("layers", self.layers, 1, 8, integer=True)
        check_number("units", self.units, 1, 8192, integer=True)

    @property
    def kind(self) -> Architecture:
        """What the architecture is like: `per_voice`, `modes`, `sequences`."""
        return ARCHITECTURES[self.architecture]

    def least_parameters(self, bins: int, keys: int = 1, dynamics: int = 1) -> int:
        """Return a number of parameters that the network has at least, told without building it; keys, dynamics: rows
        of a modal network's tables, as of `networks.modal`."""
        if self.kind.modes:
            return keys * self.units * bins * (8 + dynamics) // 8  # of the keys' curves in each bin
        if self.architecture == "mask_keyed":
            return 16 * self.units * bins
        if self.architecture == "direct_image_convolution":
            return 27 * self.layers * self.units**2  # a kernel of 3 frames by 9 bins for each two channels
        recurrent = self.architecture.endswith(("lstm", "gru"))
        inner = (6 * self.layers if recurrent else self.layers - 1) * self.units**2
        return inner + 4 * self.units * bins  # to and from the bins


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train: a batch has `batch` rows of `frames` frames; training ends after `steps` or `seconds`. echo: steps
    that use each batch (data echoing, Choi et al. 2019). grid: samples; frames start at multiples of it. precision: a
    Keras policy; the mixed ones are for GPUs and keep weights, losses and spectra in float32. The learning rate falls
    along a cosine to the end; unless `seconds` ends it, the same parameters give the same network."""

    power: float | str = 0.5
    loss: str = "mse"
    learning_rate: float
    batch: int
    frames: int
    steps: int
    seconds: float = 900.0
    holdout: float = 0.05
    seed: int = 0
    grid: int = 1
    echo: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_power(self.power)
        check_choice("loss", self.loss, (*LOSSES, *SOUND_LOSSES))
        check_number("learning_rate", self.learning_rate, 1e-7, 1)
        check_number("seconds", self.seconds, 1, 10**8)
        check_number("holdout", self.holdout, 0, 0.5)
        check_number("seed", self.seed, 0, 2**31 - 1, integer=True)
        for key, most in {"batch": 65536, "frames": 4096, "steps": 10**8, "grid": 65536, "echo": 16}.items():
            check_number(key, getattr(self, key), 1, most, integer=True)
        check_choice("precision", self.precision, ("float32", "mixed_bfloat16", "mixed_float16"))


PARTS = {"spectral": Spectral, "codification": Codification, "network": Network, "training": Training}


@dataclass(frozen=True)
class Settings:
    """All settings of a training, saved inside the model that it makes. `make_settings` holds the defaults."""

    name: str
    spectral: Spectral
    codification: Codification
    network: Network
    training: Training

    def __post_init__(self) -> None:
        safe_name(self.name)
        chosen = f"architecture={self.network.architecture!r}"
        if self.network.kind.per_voice and self.codification.kind == "two_sines":
            lacking = "which codification='two_sines' does not have"
            raise InputError(f"{chosen} masks partials, {lacking}; use 'inharmonic', or architecture='direct_blstm'")
        if self.network.kind.sequences and self.training.frames < 2:
            raise InputError(f"{chosen} learns sequences; give frames of 2 or more")

    def to_dict(self) -> dict:
        """Return nested dictionaries that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> "Settings":
        """Return the settings that `to_dict` wrote."""
        return cls(content["name"], **{part: kind(**content[part]) for part, kind in PARTS.items()})


def make_settings(
    *, name: str = "", preset: str = "", power: float | str = Training.power,
    frame_length: int = Spectral.frame_length, frame_step: int = 0, window: str = Spectral.window,
    kaiser_beta: float = Spectral.kaiser_beta, oversampling: int = Spectral.oversampling,
    heterodyne: bool = Spectral.heterodyne,
    codification: str = Codification.kind, velocity: bool = Codification.velocity,
    release: float = Codification.release, ring: float = Codification.ring, partials: int = Codification.partials,
    tone: bool = Codification.tone, impulse: str = Codification.impulse,
    architecture: str = "modal", layers: int = 0, units: int = 0,
    loss: str = Training.loss, learning_rate: float = 0.0, batch: int = 0, frames: int = 0, steps: int = 0,
    seconds: float = Training.seconds, holdout: float = Training.holdout, seed: int = Training.seed,
    grid: int = Training.grid, echo: int = 0, precision: str = Training.precision,
) -> Settings:  # fmt: skip
    """Return settings from flat parameters; 0 stands for the architecture's own; raises `InputError` for a bad one. A
    preset replaces every parameter that is left at its default. Without a name, the model is called after its preset or
    architecture and every changed parameter, such as mask_dense_power0.125."""
    flat = {key: value for key, value in locals().items() if key not in ("name", "preset")}
    if preset:
        check_choice("preset", preset, tuple(PRESETS))
    changed = {key: value for key, value in flat.items() if value != make_settings.__kwdefaults__[key]}
    flat |= PRESETS.get(preset, {}) | changed
    check_choice("architecture", flat["architecture"], tuple(ARCHITECTURES))
    zeros = [key for key in SIZES if flat[key] == 0 and type(flat[key]) in (int, float)]
    flat |= {key: getattr(ARCHITECTURES[flat["architecture"]], key) for key in zeros} | {"kind": flat["codification"]}
    if changed.get("frame_step", 0) == 0 and not isinstance(flat["frame_length"], str):
        share = max(1 / 4, flat["frame_step"] / Spectral.frame_length)  # an own step is for the usual length
        flat["frame_step"] = min(flat["frame_step"], max(1, int(share * flat["frame_length"])))
    if name == "":
        parameters = [f"{key}{value}" for key, value in changed.items() if key != "architecture"]
        telling = "_".join([preset or flat["architecture"], *parameters])
        name = "".join(c if c.isalnum() or c in "._-" else "-" for c in telling)[:100]
    known = {part: [f.name for f in dataclasses.fields(kind) if f.name in flat] for part, kind in PARTS.items()}
    return Settings(name, **{part: kind(**{key: flat[key] for key in known[part]}) for part, kind in PARTS.items()})


def build_network(settings: Settings, keys: int = PITCHES, dynamics: int = 1) -> keras.Model:
    """Return a new network of these settings, with initial weights; keys, dynamics: rows of a modal network's tables,
    as of `networks.modal`."""
    network, rows = settings.network, (keys, dynamics) if settings.network.kind.modes else ()
    return network.kind.build(network.layers, network.units, settings.spectral.bins, *rows)
