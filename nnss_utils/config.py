"""What a user may choose, checked when it is made: flat parameters outside, small frozen dataclasses inside."""

import dataclasses
from dataclasses import dataclass

from nnss_utils.catalogue import ARCHITECTURES, loss_names
from nnss_utils.errors import InputError, check_choice, check_flag, check_number
from nnss_utils.normalization import check_power
from nnss_utils.paths import safe_name
from nnss_utils.spectral import Spectral

CODIFICATIONS = ("inharmonic", "two_sines")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
IMPULSES = ("ringing", "none", "frame")
SIZES = (
    "layers",
    "units",
    "batch",
    "frames",
    "steps",
    "learning_rate",
    "echo",
)  # parameters of which 0 stands for the architecture's own

# name -> the parameters that differ from the usual ones
PRESETS = {
    "": {},
    # the method as its author describes it; batch and frames are what fits a step of seconds on a CPU
    "seed": {
        "codification": "two_sines",
        "heterodyne": False,
        "frame_step": 1,
        "power": 1 / 8,
        "architecture": "direct_blstm",
        "layers": 2,
        "units": 1000,
        "batch": 16,
        "frames": 32,
        "learning_rate": 1e-3,
    },
}


@dataclass(frozen=True)
class Codification:
    """How notes become a sound of sines, times in seconds.

    release: how long a voice sounds after its note; ring: time constant of what an impulse leaves in each bin.
    What a mask network can do without (08_full_bandwidth): partials: how many the tone has, 0 for all up to 20 kHz;
    tone: whether there is one; impulse: "ringing", "none", or "frame", which counts its phase from each frame.
    """

    kind: str = "inharmonic"
    velocity: bool = False
    release: float = 0.35
    ring: float = 0.3
    partials: int = 0
    tone: bool = True
    impulse: str = "ringing"

    def __post_init__(self) -> None:
        check_choice("codification", self.kind, CODIFICATIONS)
        check_flag("velocity", self.velocity)
        check_number("release", self.release, 0.01, 10)
        check_number("ring", self.ring, 0.001, 10)
        check_number("partials", self.partials, 0, 10000, integer=True)
        check_flag("tone", self.tone)
        check_choice("impulse", self.impulse, IMPULSES)


@dataclass(frozen=True)
class Network:
    """Which network: architecture, how many hidden layers, how many units in each."""

    architecture: str = "mask_dense"
    layers: int = 3
    units: int = 512

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


@dataclass(frozen=True)
class Training:
    """How to train: batch counts rows of so many frames; training ends at `steps` or `seconds`.

    echo: how many steps use a batch, so that making batches costs less (data echoing, Choi et al. 2019). grid:
    samples; frames start at multiples of it only (1: anywhere). precision: how the network computes, a Keras
    policy; the mixed ones are for GPUs and keep weights, losses and spectra in float32.

    The learning rate falls along a cosine to the end; as long as `seconds` does not cut it short, the same
    parameters give the same network.
    """

    power: float | str = 0.5
    loss: str = "mse"
    learning_rate: float = 2e-3
    batch: int = 1024
    frames: int = 1
    steps: int = 1500
    seconds: float = 345.0
    holdout: float = 0.05
    seed: int = 0
    grid: int = 1
    echo: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_power(self.power)
        check_choice("loss", self.loss, loss_names())
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
    """Everything a training needs to know, saved inside the model it makes."""

    name: str = "model"
    spectral: Spectral = dataclasses.field(default_factory=Spectral)
    codification: Codification = dataclasses.field(default_factory=Codification)
    network: Network = dataclasses.field(default_factory=Network)
    training: Training = dataclasses.field(default_factory=Training)

    def __post_init__(self) -> None:
        safe_name(self.name)
        if self.network.per_voice and self.codification.kind != "inharmonic":
            raise InputError(
                f"architecture={self.network.architecture!r} masks partials, which codification="
                f"{self.codification.kind!r} has not; use 'inharmonic', or architecture='direct_blstm'"
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
    power: float | str = 0.5,
    frame_length: int = 2048,
    frame_step: int = 256,
    window: str = "hann",
    kaiser_beta: float = 8.0,
    oversampling: int = 1,
    heterodyne: bool = True,
    codification: str = "inharmonic",
    velocity: bool = False,
    release: float = 0.35,
    ring: float = 0.3,
    partials: int = 0,
    tone: bool = True,
    impulse: str = "ringing",
    architecture: str = "mask_keyed",
    layers: int = 0,
    units: int = 0,
    loss: str = "mse",
    learning_rate: float = 0.0,
    batch: int = 0,
    frames: int = 0,
    steps: int = 0,
    seconds: float = 540.0,
    holdout: float = 0.05,
    seed: int = 0,
    grid: int = 1,
    echo: int = 0,
    precision: str = "float32",
) -> Settings:
    """Return checked settings from a notebook's flat parameters; 0 stands for what suits the architecture.

    A preset's values take the place of every parameter that is left at its usual value. Without a name, the model
    is called after its preset or architecture and every parameter that is not the usual one.
    Raises `InputError` for a parameter of the wrong type, out of range, or unknown.
    """
    flat = {key: value for key, value in locals().items() if key not in ("name", "preset")}
    check_choice("preset", preset, tuple(PRESETS))
    changed = {key: value for key, value in flat.items() if value != make_settings.__kwdefaults__[key]}
    flat |= PRESETS[preset] | changed
    check_choice("architecture", flat["architecture"], tuple(ARCHITECTURES))
    usual = ARCHITECTURES[flat["architecture"]]
    for key in SIZES:
        if flat[key] == 0 and type(flat[key]) in (int, float):
            flat[key] = getattr(usual, key)
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
    """Return a name such as mask_dense_power0.125: the preset or architecture and what is not as usual."""
    name = "_".join([first, *(f"{key}{value}" for key, value in changed.items() if key != "architecture")])
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:100]
