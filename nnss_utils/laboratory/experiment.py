"""One experiment: a configuration trained for a fixed time on one task, and measured (notebooks 03, 04, 07).

Each experiment is one training on one core and one row of a table. Its result is kept as JSON under
data/results/laboratory with everything that decides it, so tables are made again without training, and an interrupted
sweep continues with the missing rows.
"""

import dataclasses
import hashlib
import inspect
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import WINDOWS, third_octave_edges
from nnss_utils.errors import check_choice, check_number
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.pair import Pair, make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.midi import Note
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.model.pairs import normalize_pairs
from nnss_utils.model.settings import Settings
from nnss_utils.paths import RESULTS, read_json, relative, write_json
from nnss_utils.provenance import made_with
from nnss_utils.scores import scale_sequence
from nnss_utils.synthesis.render import render
from nnss_utils.training.checkpoint import Progress
from nnss_utils.training.dataset import Batch, Dataset, make_dataset
from nnss_utils.training.loss_model import LossModel, prepare
from nnss_utils.training.prefetch import batch_inputs
from nnss_utils.training.train import learning_rate, trained_model

FOLDER = RESULTS / "laboratory"
SNAPSHOTS = 12  # probes of what is learnt, in equal ratios from 1/64 of the time to its end
EXAMPLES = 96  # examples (sequences or single frames, at random positions) that a probe sees at least
GAP = 0.45  # s between the notes that probes see, so that each is alone
FINE, COARSE = 64, 8  # bins with a value of their own in the learning map, and how many above share one
REGISTRIES = {"WINDOWS": WINDOWS, "LOSSES": LOSSES, "SOUND_LOSSES": SOUND_LOSSES, "ARCHITECTURES": ARCHITECTURES}

# An identity digests what differs from these values: never change them, or kept results are not found again.
USUAL = {
    "settings": {
        "spectral": {"frame_length": 2048, "frame_step": 256, "window": "hann", "kaiser_beta": 8.0, "oversampling": 1,
                     "heterodyne": True, "bins": 1024},
        "codification": {"kind": "inharmonic", "velocity": False, "release": 0.35, "ring": 0.3, "partials": 0,
                         "tone": True, "impulse": "ringing"},
        "network": {"architecture": "mask_dense", "layers": 3, "units": 512},
        "training": {"power": 0.5, "loss": "mse", "learning_rate": 0.002, "batch": 1024, "frames": 1, "steps": 1500,
                     "seconds": 345.0, "holdout": 0.05, "seed": 0, "grid": 1, "echo": 1, "precision": "float32"},
    },
    "task": {"low": 60, "high": 64, "repetitions": 12, "longest": 1.0, "notes": 5, "heard": 5, "seed": 5, "voices": 1,
             "jitter": 0},
    "clock": "cpu",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What every experiment learns, a scale over some piano keys, and the melody on these keys that measures it.

    Probes see each of the melody's `notes` alone; the first `heard` of them are measured as sound. voices: number of
    scales at once; jitter: the instrument plays each note up to this number of samples late.
    """

    low: int = 60
    high: int = 64
    repetitions: int = 12
    longest: float = 1.0
    notes: int = 5
    heard: int = 5
    seed: int = 5
    voices: int = 1
    jitter: int = 0

    def __post_init__(self) -> None:
        check_number("notes", self.notes, 1, 1000, integer=True)
        check_number("heard", self.heard, 1, self.notes, integer=True)
        check_number("voices", self.voices, 1, 16, integer=True)
        check_number("jitter", self.jitter, 0, 44100, integer=True)

    def pair(self) -> Pair:
        """Return the training pair."""
        scales = [
            scale_sequence(self.low, self.high, self.repetitions, longest=self.longest, sustained=0, seed=seed)
            for seed in range(self.voices)
        ]
        pair = make_pair(sorted(note for scale in scales for note in scale), Steinway())
        return dataclasses.replace(pair, audio=Steinway().render(self._jittered(pair.notes))) if self.jitter else pair

    def _jittered(self, notes: Sequence[Note]) -> list[Note]:
        """Return notes, each late by a random part of the jitter."""
        late = np.random.default_rng(self.seed).integers(0, self.jitter, len(notes)) / SAMPLE_RATE
        moved = zip(notes, late.tolist(), strict=True)
        return [Note(note.start + by, note.end + by, note.pitch, note.velocity) for note, by in moved]

    def melody(self, gap: float = 0.0) -> list[Note]:
        """Return notes of random pitch and duration (0.25 to 0.5 s), `gap` s between them; not in the pair."""
        rng = np.random.default_rng(self.seed)
        notes, now = [], 0.05
        for _ in range(self.notes):
            pitch, duration = int(rng.integers(self.low, self.high + 1)), float(rng.uniform(0.25, 0.5))
            notes.append(Note(now, now + duration, pitch))
            now += duration + gap
        return notes


@dataclass(frozen=True)
class Experiment:
    """A row's name, the settings whose `seconds` are its time, the task, and the clock.

    clock "cpu" counts the processor's seconds, which a busy machine doesn't change; "wall" is right on a GPU.
    """

    row: str
    settings: Settings
    task: Task = dataclasses.field(default_factory=Task)
    clock: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("clock", self.clock, ("cpu", "wall"))

    @property
    def identity(self) -> str:
        """A digest of everything that decides the result and differs from USUAL; new parameters change no identity."""
        content = _unusual(self.to_dict(), USUAL)
        content |= {name: inspect.getsource(function) for _, name, function in own_functions(self.settings)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        return FOLDER / f"{''.join(c if c.isalnum() else '-' for c in self.row)}-{self.identity}.json"

    def to_dict(self) -> dict:
        """Return what JSON can hold, without names."""
        settings = self.settings.to_dict()
        settings.pop("name")
        return {"settings": settings, "task": dataclasses.asdict(self.task), "clock": self.clock}


def _unusual(content: dict, usual: dict) -> dict:
    """Return the values of nested dictionaries that differ from `usual`."""
    parts = {key: _unusual(v, usual[key]) if isinstance(v, dict) else v for key, v in content.items()}
    return {key: value for key, value in parts.items() if value != ({} if isinstance(value, dict) else usual[key])}


def _agrees(stored: dict, now: dict) -> bool:
    """Return whether every value of a stored configuration is still the same."""
    return all(
        key in now and (_agrees(value, now[key]) if isinstance(value, dict) else value == now[key])
        for key, value in stored.items()
    )


def own_functions(settings: Settings) -> list[tuple[str, str, Callable]]:
    """Return (registry, name, function) of what the settings use that the user has added to a registry."""
    used = [
        ("WINDOWS", settings.spectral.window),
        ("LOSSES", settings.training.loss),
        ("SOUND_LOSSES", settings.training.loss),
        ("ARCHITECTURES", settings.network.architecture),
    ]
    found = [(kind, name, REGISTRIES[kind].get(name)) for kind, name in used]
    built = [(kind, name, getattr(entry, "build", entry)) for kind, name, entry in found if entry is not None]
    return [entry for entry in built if not entry[2].__module__.startswith("nnss_utils")]


def kept_result(experiment: Experiment) -> dict | None:
    """Return an experiment's kept result, whatever its row was called then; None if there is none."""
    now = experiment.to_dict()
    for path in sorted(FOLDER.glob(f"*-{experiment.identity}.json")):
        try:
            result = read_json(path)
            if _agrees({key: result[key] for key in now}, now):
                return result | {"row": experiment.row}
        except (ValueError, KeyError):
            print(f"{relative(path)} is damaged: the experiment runs again")
    return None


def run_experiment(experiment: Experiment, report: Callable[[float], None] = lambda seconds: None) -> dict:
    """Train and measure one row, keep its result and return it; `report` is called with the seconds trained so far."""
    settings, task = experiment.settings, experiment.task
    model, dataset = prepare(task.pair(), settings)
    fresh = [dataset.batch(10**6 + i) for i in range(_batches(settings))]  # of the pair, at positions never trained
    probes = {"training": fresh, "melody": _melody_batches(task, settings, dataset)}
    progress, snapshots = train_for(model, dataset, probes, experiment.clock, report)
    result = {
        "row": experiment.row,
        **experiment.to_dict(),
        "parameters": model.network.count_params(),
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "finite": math.isfinite(progress.train_loss[-1]),
        "snapshots": snapshots,
        "bin_edges": bin_edges(settings.spectral.bins),
        "bin_hz": settings.spectral.rate / settings.spectral.frame_length,
        **_melody_measures(experiment, model, dataset),
        **made_with(dataset.notes, dataset.audio),
    }
    keras.utils.clear_session()
    write_json(experiment.path, result, indent=None)
    return result


def train_for(
    model: LossModel, dataset: Dataset, probes: dict[str, list[Batch]], clock: str, report: Callable
) -> tuple[Progress, list[dict]]:
    """Train for the settings' seconds, without compiling and probing; return the progress and the probes' results."""
    training, now = model.settings.training, time.process_time if clock == "cpu" else time.monotonic
    times = np.append(training.seconds / 64 ** (1 - np.arange(1, SNAPSHOTS + 1) / SNAPSHOTS), np.inf)
    progress, snapshots, due, ended = Progress(), [], 0, False
    _step(model, dataset.batch(0), 0.0)  # compiles; at a rate of 0 nothing is learnt
    while not ended:
        begun = now()
        loss = _step(model, dataset.batch(progress.step), learning_rate(model.settings, progress))
        progress.seconds += now() - begun
        progress.step += 1
        progress.train_loss.append(loss)
        ended = progress.seconds >= training.seconds or progress.step >= training.steps or not math.isfinite(loss)
        report(progress.seconds)
        if ended or progress.seconds >= times[due]:
            due = int(np.searchsorted(times, progress.seconds, side="right"))
            at = {"seconds": round(progress.seconds, 2), "step": progress.step}
            seen = {name: probe(model, batches) for name, batches in probes.items()}
            snapshots.append(at | {"melody": seen["melody"], "training": {"loss": seen["training"]["loss"]}})
    return progress, snapshots


def _step(model: LossModel, batch: Batch, rate: float) -> float:
    """Take one step at a learning rate and return its loss."""
    model.optimizer.learning_rate.assign(rate)
    return float(model.train_on_batch(batch_inputs(batch), batch.target))


def _batches(settings: Settings) -> int:
    """Return how many batches a probe needs."""
    return -(-EXAMPLES // settings.training.batch)


def _melody_batches(task: Task, settings: Settings, dataset: Dataset) -> list[Batch]:
    """Return batches of the task's melody, each note alone; training never draws from it."""
    notes = task.melody(GAP)
    alone = dataclasses.replace(settings, training=dataclasses.replace(settings.training, holdout=0.0, seed=0))
    drawn = make_dataset(notes, Steinway().render(notes), alone, dataset.tuning)
    return [drawn.batch(i) for i in range(_batches(settings))]


def probe(model: LossModel, batches: list[Batch]) -> dict:
    """Return the loss on batches and, by group of bins, the explained share of the normalized spectrum's variance.

    1 - sum |Y - P|^2 / sum |Y|^2 over all frames: 1 is perfect, 0 as good as silence, below 0 worse.
    """
    edges = bin_edges(model.settings.spectral.bins)
    sums, loss = np.zeros((2, len(edges) - 1)), 0.0
    for batch in batches:
        predicted = model.predict_on_batch(batch_inputs(batch))
        loss += float(model.compute_loss(batch_inputs(batch), batch.target, predicted)) / len(batches)
        target = normalize_pairs(batch.target, model.settings.training.power, model.floor)
        target = ops.convert_to_numpy(target).astype(np.float64)
        for row, values in zip(sums, (target, target - predicted), strict=True):
            row += np.add.reduceat(np.sum(values**2, axis=(0, 1, 3)), edges[:-1])
    explained = np.where(sums[0] > 0, 1 - sums[1] / np.maximum(sums[0], 1e-30), 0)
    explained = np.nan_to_num(np.clip(explained, -9, 1), nan=-9)
    return {"loss": loss if math.isfinite(loss) else None, "explained": [round(float(x), 3) for x in explained]}


def bin_edges(bins: int) -> list[int]:
    """Return the first bin of each group of the learning map, and the end: single bins below FINE, COARSE above."""
    return [*range(min(FINE, bins)), *range(FINE, bins, COARSE), bins]


def learnt_hz(result: dict, at: int = -1) -> float:
    """Return the learnt bandwidth of a probe in Hz: the sum over bins of the explained variance times a bin's width."""
    explained = np.clip(result["snapshots"][at]["melody"]["explained"], 0, 1)
    return float(np.sum(explained * np.diff(result["bin_edges"])) * result["bin_hz"])


def highest_learnt_hz(result: dict, at: int = -1, least: float = 0.1) -> float:
    """Return the upper edge (Hz) of the highest third-octave band of which a probe explains at least `least`, or 0."""
    edges = np.array(result["bin_edges"]) * result["bin_hz"]
    explained = np.clip(result["snapshots"][at]["melody"]["explained"], 0, 1)
    middle, width, top = (edges[1:] + edges[:-1]) / 2, np.diff(edges), 0.0
    for low, high in pairwise(third_octave_edges(100.0, float(edges[-1]))):
        inside = (middle >= low) & (middle < high)
        if inside.any() and np.average(explained[inside], weights=width[inside]) >= least:
            top = high
    return float(top)


def frames_per_second(result: dict) -> float:
    """Return how many frames a row was trained on in a second."""
    training = result["settings"]["training"]
    return result["steps"] * training["batch"] * training["frames"] / max(result["seconds"], 0.1)  # as it is rounded


def results_table(results: dict[str, dict]) -> str:
    """Return results by row as a Markdown table: cost, what is learnt of the spectrum, and the melody's measures."""
    heads = ("", "parameters", "steps", "frames/s", "learnt Hz", "up to Hz", "correlation", "SNR dB",
             "attack LSD dB", "sustain LSD dB", "multi-scale loss")  # fmt: skip
    rows = []
    for row, result in results.items():
        m = result["measures"]
        cells = [row, f"{result['parameters']:,}", f"{result['steps']}", f"{frames_per_second(result):.0f}",
                 f"{learnt_hz(result):.0f}", f"{highest_learnt_hz(result):.0f}", f"{m['correlation']:.3f}",
                 f"{m['snr_db']:.1f}", f"{m['attack_lsd_db']:.1f}", f"{m['sustain_lsd_db']:.1f}",
                 f"{m['multi_scale_loss']:.1f}"]  # fmt: skip
        rows.append(cells if result["finite"] else [*cells[:4], *["diverged"] * 7])
    return markdown_table(heads, rows)


def _melody_measures(experiment: Experiment, model: LossModel, dataset: Dataset) -> dict:
    """Return the measures of the melody as the network renders it, and the cost of rendering on the same clock."""
    task = experiment.task
    notes = task.melody()[: task.heard]
    target = Steinway().render(notes)
    now = time.process_time if experiment.clock == "cpu" else time.monotonic
    begun = now()
    with np.errstate(over="ignore", invalid="ignore"):  # a bad network at a low power overflows
        sound = render(notes, trained_model(model, dataset, task.pair(), {}), progress=False)
    seconds = now() - begun
    finite = np.nan_to_num(np.clip(sound, -1e3, 1e3))
    return {
        "measures": measure(target, finite, [note.start for note in notes]),
        "audio_seconds": round(len(sound) / SAMPLE_RATE, 3),
        "render_seconds": round(seconds, 2),
    }
