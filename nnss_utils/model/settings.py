"""What a user may choose, checked when it is made: flat parameters outside, small frozen dataclasses inside."""

import dataclasses
from dataclasses import dataclass

from nnss_utils.dsp.normalization import check_power
from nnss_utils.dsp.stft import Spectral
from nnss_utils.errors import InputError, check_choice, check_number
from nnss_utils.model.backend import keras
from nnss_utils.model.codification import Codification
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.paths import safe_name

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# parameters whose value 0 stands for the architecture's own
SIZES = ("layers", "units", "batch", "frames", "steps", "learning_rate", "echo")

# name -> the parameters that differ from the defaults
PRESETS = {
    "": {},
    # the method as its author describes it, with a batch and frames that take seconds a step on a CPU
    "seed": {
        "codification": "two_sines", "heterodyne": False, "frame_step": 1, "power": 1 / 8,
        "architecture": "direct_blstm", "layers": 2, "units": 1000, "batch": 16, "frames": 32, "learning_rate": 1e-3,
    },
}  # fmt: skip


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
    def per_voice(self) -> bool:
        """Whether the network hears one note at a time (mask networks) or the whole sound (direct ones)."""
        return ARCHITECTURES[self.architecture].per_voice

    @property
    def sequences(self) -> bool:
        """Whether the network needs frames in a row, not single ones."""
        return ARCHITECTURES[self.architecture].sequences


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train: a batch has `batch` rows of `frames` frames; training ends after `steps` or `seconds`.

    echo: number of steps that use a batch, to make fewer of them (data echoing, Choi et al. 2019). grid: samples;
    frames start at multiples of it only (1: anywhere). precision: a Keras policy; the mixed ones are for GPUs and keep
    weights, losses and spectra in float32. The learning rate falls along a cosine to the end; unless `seconds` cuts it
    short, the same parameters give the same network.
    """

    power: float | str = 0.5
    loss: str = "mse"
    learning_rate: float
    batch: int
    frames: int
    steps: int
    seconds: float = 540.0
    holdout: float = 0.05
    seed: int = 0
    grid: int = 1
    echo: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_power(self.power)
        check_choice("loss", self.loss, (*LOSSES, *SOUND_LOSSES))
        check_number("learning_rate", self.learning_rate, 1e-7, 1)
        check_number("batch", self.batch, 1, 65536, integer=True)
        check_number("frames", self.frames, 1, 4096, integer=True)
        check_number("steps", self.steps, 1, 10**8, integer=True)
        check_number("seconds", self.seconds, 1, 10**8)
        check_number("holdout", self.holdout, 0, 0.5)
        check_number("seed", self.seed, 0, 2**31 - 1, integer=True)
        check_number("grid", self.grid, 1, 65536, integer=True)
        check_number("echo", self.echo, 1, 16, integer=True)
        check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class Settings:
    """Everything a training needs to know, saved inside the model it makes. `make_settings` holds the defaults."""

    name: str
    spectral: Spectral
    codification: Codification
    network: Network
    training: Training

    def __post_init__(self) -> None:
        safe_name(self.name)
        if self.network.per_voice and self.codification.kind == "two_sines":
            raise InputError(
                f"architecture={self.network.architecture!r} masks partials, which codification="
                f"{self.codification.kind!r} does not have; use 'inharmonic', or architecture='direct_blstm'"
            )
        if self.network.sequences and self.training.frames < 2:
            raise InputError(f"architecture={self.network.architecture!r} learns sequences; give frames of 2 or more")

    def to_dict(self) -> dict:
        """Return nested dictionaries that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> "Settings":
        """Return the settings that `to_dict` wrote."""
        parts = {"spectral": Spectral, "codification": Codification, "network": Network, "training": Training}
        return cls(name=content["name"], **{key: kind(**content[key]) for key, kind in parts.items()})


def make_settings(
    *,
    name: str = "",
    preset: str = "",
    power: float | str = Training.power,
    frame_length: int = Spectral.frame_length,
    frame_step: int = Spectral.frame_step,
    window: str = Spectral.window,
    kaiser_beta: float = Spectral.kaiser_beta,
    oversampling: int = Spectral.oversampling,
    heterodyne: bool = Spectral.heterodyne,
    codification: str = Codification.kind,
    velocity: bool = Codification.velocity,
    release: float = Codification.release,
    ring: float = Codification.ring,
    partials: int = Codification.partials,
    tone: bool = Codification.tone,
    impulse: str = Codification.impulse,
    architecture: str = "mask_keyed",
    layers: int = 0,
    units: int = 0,
    loss: str = Training.loss,
    learning_rate: float = 0.0,
    batch: int = 0,
    frames: int = 0,
    steps: int = 0,
    seconds: float = Training.seconds,
    holdout: float = Training.holdout,
    seed: int = Training.seed,
    grid: int = Training.grid,
    echo: int = 0,
    precision: str = Training.precision,
) -> Settings:
    """Return checked settings from a notebook's flat parameters; 0 stands for what suits the architecture.

    A preset replaces every parameter that is left at its default. Without a name, the model is called after its
    preset or architecture and every parameter that is not the default. Raises `InputError` for a parameter of the
    wrong type, out of range, or unknown.
    """
    flat = {key: value for key, value in locals().items() if key not in ("name", "preset")}
    check_choice("preset", preset, tuple(PRESETS))
    changed = {key: value for key, value in flat.items() if value != make_settings.__kwdefaults__[key]}
    flat |= PRESETS[preset] | changed
    check_choice("architecture", flat["architecture"], tuple(ARCHITECTURES))
    own = ARCHITECTURES[flat["architecture"]]
    for key in SIZES:
        if flat[key] == 0 and type(flat[key]) in (int, float):
            flat[key] = getattr(own, key)
    return Settings(
        name=name if name != "" else _telling_name(preset or flat["architecture"], changed),
        spectral=Spectral(**_fields_of(Spectral, flat)),
        codification=Codification(kind=flat["codification"], **_fields_of(Codification, flat)),
        network=Network(**_fields_of(Network, flat)),
        training=Training(**_fields_of(Training, flat)),
    )


def _fields_of(part: type, flat: dict) -> dict:
    """Return the parameters that are fields of a dataclass."""
    return {field.name: flat[field.name] for field in dataclasses.fields(part) if field.name in flat}


def _telling_name(first: str, changed: dict) -> str:
    """Return a name such as mask_dense_power0.125: the preset or architecture and every changed parameter."""
    name = "_".join([first, *(f"{key}{value}" for key, value in changed.items() if key != "architecture")])
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:100]


def build_network(settings: Settings) -> keras.Model:
    """Return a new network of these settings, with initial weights."""
    network = settings.network
    return ARCHITECTURES[network.architecture].build(network.layers, network.units, settings.spectral.bins)
