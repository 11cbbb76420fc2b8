"""The experiment grid: groups of rows, each one change to a base configuration (notebooks 03, 04, 07, 08). Two bases,
both direct complex regression by BLSTM(128) x 2. "seed": the author's method but for the network's size, two sines, raw
phase, frame_step 1, power 1/8. "partials": the codification sounds every partial, frame_step 64, power 1/2, which two
minutes on one core can learn."""

from nnss_utils.errors import check_choice
from nnss_utils.laboratory.experiment import Experiment, Task
from nnss_utils.model.settings import PRESETS, make_settings

BASES = {
    "seed": {**PRESETS["seed"], "units": 128, "learning_rate": 3e-3},
    "partials": {"architecture": "direct_blstm", "heterodyne": False, "frame_step": 64, "units": 128, "batch": 16,
                 "frames": 32, "learning_rate": 3e-3},
}  # fmt: skip
TASKS = {"seed": Task(heard=3), "partials": Task()}  # frame_step 1 makes 44,100 spectra a second: a shorter melody
BASE = "as is"

# label -> what it changes; units give all about as many parameters (3.1 million; over the image 2.2)
ARCHITECTURES = {
    "BLSTM x 1": {"layers": 1, "units": 146},
    "BLSTM x 3": {"layers": 3, "units": 116},
    "BLSTM x 4": {"layers": 4, "units": 108},
    "GRU x 2": {"architecture": "direct_gru", "units": 156},
    "convolution over time": {"architecture": "direct_convolution", "layers": 4, "units": 328},
    "convolution over the image": {"architecture": "direct_image_convolution", "layers": 4, "units": 16},
    "transformer": {"architecture": "direct_transformer", "layers": 4, "units": 216, "learning_rate": 1e-3},
}
LOSSES = {f"loss {name}": {"loss": name} for name in ("mae", "complex_magnitude", "multi_scale")}
WINDOWS = {f"window {name}": {"window": name} for name in ("kaiser", "hamming", "blackman", "rectangular")}
POWERS = {
    "power 1": {"power": 1.0}, **{f"power 1/{n}": {"power": 1 / n} for n in (2, 4, 8, 16, 32)},
    "logarithm": {"power": "log"},
}  # fmt: skip
STEPS = {f"frame_step {step}": {"frame_step": step} for step in (1, 8, 64, 256)}
HETERODYNED = {f"heterodyned step {step}": {"heterodyne": True, "frame_step": step} for step in (1, 64)}
LENGTHS = {f"frame_length {length}": {"frame_length": length} for length in (512, 1024, 4096, 8192)}
OVERSAMPLED = {f"oversampling {factor}": {"oversampling": factor, "frame_length": 2048 * factor} for factor in (2, 4)}
CHANGES = ARCHITECTURES | LOSSES | WINDOWS | POWERS | STEPS | HETERODYNED | LENGTHS | OVERSAMPLED

# base -> group -> the labels that the claims' table has of it; any base can be made with any label
GROUPS = {
    "partials": {
        "architectures": ARCHITECTURES, "powers": POWERS, "losses": LOSSES, "lengths": LENGTHS,
        "steps": ("frame_step 256", "heterodyned step 64"),
    },
    "seed": {
        # not over the image: at 44,100 frames a second, its synthesis alone would take longer than all the rest
        "architectures": tuple(label for label in ARCHITECTURES if "image" not in label),
        "windows": WINDOWS, "steps": ("frame_step 8", "frame_step 64", *HETERODYNED), "oversampled": OVERSAMPLED,
        "losses": LOSSES, "powers": ("power 1/2", "power 1/4", "power 1/32", "logarithm"),
    },
}  # fmt: skip
# rows near their base's, trained with a second seed too
CLOSE = {"partials": ("BLSTM x 3", "GRU x 2"), "seed": ("BLSTM x 3", "GRU x 2", "window kaiser", "window blackman")}


def row_of(name: str, seconds: float, clock: str, task: Task | None = None, **changes: object) -> Experiment:
    """Return an experiment with changed parameters: `seconds` of training, without a limit of steps or a holdout."""
    settings = make_settings(name="row", holdout=0.0, steps=10**7, seconds=seconds, **changes)
    return Experiment(name, settings, task or Task(), clock)


def make(base: str, label: str = BASE, seconds: float = 120.0, seed: int = 0, clock: str = "cpu") -> Experiment:
    """Return the experiment of a base with one of the labels' changes, trained for `seconds`."""
    check_choice("base", base, tuple(BASES))
    changes = {BASE: {}} | CHANGES
    check_choice("row", label, tuple(changes))
    name = f"{base}: {label}" + (f" (seed {seed})" if seed else "")
    return row_of(name, seconds, clock, TASKS[base], **BASES[base] | changes[label] | {"seed": seed})


def group(base: str, name: str, seconds: float = 120.0, clock: str = "cpu") -> list[Experiment]:
    """Return the experiments of a base's group, without a row that changes nothing: that is the base."""
    plain = make(base, seconds=seconds).settings
    rows = [make(base, label, seconds, clock=clock) for label in GROUPS[base][name]]
    return [row for row in rows if row.settings != plain]


def choose(experiments: list[Experiment], rows: str) -> list[Experiment]:
    """Return the experiments named in `rows` (by comma; all if empty); raises `InputError` for an unknown row."""
    wanted = [name.strip() for name in rows.split(",") if name.strip()]
    for name in wanted:
        check_choice("row", name, tuple(experiment.row for experiment in experiments))
    return [experiment for experiment in experiments if not wanted or experiment.row in wanted]


MASKS = ("mask_keyed", "mask_dense", "mask_blstm")
# cause of the seed's limit -> changes of parameters and of the task that take its remedy away
CAUSES = {
    "1 the phase turns with the frame": ({"impulse": "frame"}, {}),
    "2 nothing at the partials": ({"partials": 1}, {}),
    "3 the partials' phases are asked for": ({"tone": False}, {}),
    "4 no impulse for the transient": ({"impulse": "none"}, {}),
    "5 three notes at once in training": ({}, {"voices": 3}),
    "6 onsets jitter by 64 samples": ({}, {"jitter": 64}),
    "7 one frame grid": ({"grid": 256}, {}),
}


def causes(seconds: float = 120.0, clock: str = "cpu") -> list[Experiment]:
    """Return the rows of the ablation: the keyed network with every remedy, and without one of them at a time."""
    return [
        row_of(f"causes: {name}", seconds, clock, Task(**task), **{"architecture": "mask_keyed", "echo": 1} | changes)
        for name, (changes, task) in {"all remedies": ({}, {}), **CAUSES}.items()
    ]


def everything(seconds: float = 120.0, clock: str = "cpu") -> list[Experiment]:
    """Return every row of the claims' table, the most informative ones first."""

    def of(base: str, *groups: str) -> list[Experiment]:
        return [row for name in groups for row in group(base, name, seconds, clock)]

    def again(base: str) -> list[Experiment]:
        return [make(base, label, seconds, 1, clock) for label in CLOSE[base]]

    return [
        *(make(base, BASE, seconds, seed, clock) for seed in (0, 1) for base in BASES),
        *(row_of(f"masks: {name}", seconds, clock, architecture=name, echo=1) for name in MASKS),
        row_of("seed: exact", seconds, clock, Task(heard=1), preset="seed"),  # the author's configuration
        *causes(seconds, clock)[1:],  # the row with all remedies is "masks: mask_keyed"
        *of("partials", "architectures", "powers", "losses"), *of("seed", "windows", "steps", "architectures"),
        *of("partials", "lengths"), *of("seed", "oversampled"), *again("partials"),
        *of("partials", "steps"), *of("seed", "losses", "powers"), *again("seed"),
    ]  # fmt: skip
