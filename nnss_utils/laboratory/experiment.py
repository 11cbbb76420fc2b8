"""One experiment: a configuration trained for a fixed time on one task, and measured (notebooks 03, 04, 07). Each
experiment is one training on one core and one row of a table. Its result is cached as JSON under
data/results/laboratory with all its settings, so tables need no new training, and an interrupted sweep can continue."""

import dataclasses
import hashlib
import inspect
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import WINDOWS, third_octave_edges
from nnss_utils.errors import check_choice, check_number
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.tables import measures_table
from nnss_utils.instruments.pair import Pair, make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.midi import Note, moved
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
from nnss_utils.training.train import learning_rate, trained_model

FOLDER = RESULTS / "laboratory"
SNAPSHOTS = 12  # probes of what is learnt, in equal ratios from 1/64 of the time to its end
EXAMPLES = 96  # examples (sequences or single frames, at random positions) that a probe sees at least
GAP = 0.45  # s between the notes that probes see, so that each is alone
FINE, COARSE = 64, 8  # bins with a value of their own in the learning map, and how many above share one
CLOCKS = {"cpu": time.process_time, "wall": time.monotonic}
REGISTRIES = {"WINDOWS": WINDOWS, "LOSSES": LOSSES, "SOUND_LOSSES": SOUND_LOSSES, "ARCHITECTURES": ARCHITECTURES}

# An identity digests what differs from these values: never change them, or cached results are not found again.
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
    """What every experiment learns, a scale over some piano keys, and the melody on these keys that measures it. Probes
    see each of the melody's `notes` alone; the first `heard` of them are measured as sound. voices: number of scales at
    once; jitter: the instrument plays each note up to this number of samples late."""

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
        for name, low, high in (("notes", 1, 1000), ("heard", 1, self.notes), ("voices", 1, 16), ("jitter", 0, 44100)):
            check_number(name, getattr(self, name), low, high, integer=True)

    def pair(self) -> Pair:
        """Return the training pair."""
        scales = [
            scale_sequence(self.low, self.high, self.repetitions, 0.15, self.longest, sustained=0, seed=seed)
            for seed in range(self.voices)
        ]
        pair = make_pair(sorted(note for scale in scales for note in scale), Steinway())
        if not self.jitter:
            return pair
        late = np.random.default_rng(self.seed).integers(0, self.jitter, len(pair.notes)) / SAMPLE_RATE
        return dataclasses.replace(pair, audio=Steinway().render(moved(pair.notes, late)))

    def melody(self, gap: float = 0.0) -> list[Note]:
        """Return notes of random pitch and duration (0.25 to 0.5 s), `gap` s between them; not in the pair."""
        rng = np.random.default_rng(self.seed)
        drawn = [(int(rng.integers(self.low, self.high + 1)), float(rng.uniform(0.25, 0.5))) for _ in range(self.notes)]
        starts = accumulate((duration + gap for _, duration in drawn[:-1]), initial=0.05)
        return [Note(start, start + length, pitch) for start, (pitch, length) in zip(starts, drawn, strict=True)]


@dataclass(frozen=True)
class Experiment:
    """A row's name, the settings whose `seconds` are its time, the task, and the clock. clock "cpu" counts the
    processor's seconds, which a busy machine doesn't change; "wall" is right on a GPU."""

    row: str
    settings: Settings
    task: Task = dataclasses.field(default_factory=Task)
    clock: str = "cpu"

    def __post_init__(self) -> None:
        check_choice("clock", self.clock, tuple(CLOCKS))

    @property
    def identity(self) -> str:
        """A digest of everything that decides the result and differs from USUAL; new parameters change no identity."""
        content = _unusual(self.to_dict(), USUAL)
        own = own_entries(self.settings)
        content |= {name: inspect.getsource(getattr(entry, "build", entry)) for _, name, entry in own}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> Path:
        """The file of its result."""
        return FOLDER / f"{''.join(c if c.isalnum() else '-' for c in self.row)}-{self.identity}.json"

    def to_dict(self) -> dict:
        """Return what JSON can hold, without names."""
        settings = {key: value for key, value in self.settings.to_dict().items() if key != "name"}
        return {"settings": settings, "task": dataclasses.asdict(self.task), "clock": self.clock}


def _unusual(content: dict, usual: dict) -> dict:
    """Return the values of nested dictionaries that differ from `usual`."""
    parts = {key: _unusual(v, usual[key]) if isinstance(v, dict) else v for key, v in content.items()}
    return {key: value for key, value in parts.items() if value != ({} if isinstance(value, dict) else usual[key])}


def own_entries(settings: Settings) -> list[tuple[str, str, object]]:
    """Return (registry, name, entry) of what the settings use that the user has added to a registry."""
    loss = settings.training.loss
    used = {"WINDOWS": settings.spectral.window, "LOSSES": loss, "SOUND_LOSSES": loss,
            "ARCHITECTURES": settings.network.architecture}  # fmt: skip
    found = [(kind, name, REGISTRIES[kind][name]) for kind, name in used.items() if name in REGISTRIES[kind]]
    return [row for row in found if not getattr(row[2], "build", row[2]).__module__.startswith("nnss_utils")]


def cached_result(experiment: Experiment) -> dict | None:
    """Return an experiment's cached result, under any row name; None if there is none."""
    now = experiment.to_dict()
    for path in sorted(FOLDER.glob(f"*-{experiment.identity}.json")):
        try:
            result = read_json(path)
            if not _unusual({key: result[key] for key in now}, now):
                return result | {"row": experiment.row}
        except (ValueError, KeyError):
            print(f"{relative(path)} is damaged or of another version: the experiment runs again")
    return None


def run_experiment(experiment: Experiment, report: Callable[[float], None] = lambda seconds: None) -> dict:
    """Train and measure one row, write its result and return it; `report` is called with the seconds trained so far."""
    settings, task = experiment.settings, experiment.task
    model, dataset = prepare(task.pair(), settings)
    notes, plain = task.melody(GAP), dataclasses.replace(settings.training, holdout=0.0, seed=0)
    alone = make_dataset(notes, Steinway().render(notes), dataclasses.replace(settings, training=plain), dataset.tuning)
    count = -(-EXAMPLES // settings.training.batch)
    probes = {
        "training": [dataset.batch(10**6 + i) for i in range(count)],  # of the pair, at positions never trained
        "melody": [alone.batch(i) for i in range(count)],  # each note alone; training never draws from it
    }
    progress, snapshots = _train(model, dataset, probes, experiment.clock, report)
    result = {
        "row": experiment.row, **experiment.to_dict(), "parameters": model.network.count_params(),
        "steps": progress.step, "seconds": round(progress.seconds, 1),
        "finite": math.isfinite(progress.train_loss[-1]), "snapshots": snapshots,
        "bin_edges": bin_edges(settings.spectral.bins),
        "bin_hz": settings.spectral.rate / settings.spectral.frame_length,
        **_melody_measures(experiment, model, dataset), **made_with(dataset.notes, dataset.audio),
    }  # fmt: skip
    keras.utils.clear_session()
    write_json(experiment.path, result, indent=None)
    return result


def _train(model: LossModel, dataset: Dataset, probes: dict, clock: str, report: Callable) -> tuple[Progress, list]:
    """Train for the settings' seconds, without compiling and probing; return the progress and the probes' results."""
    training, now = model.settings.training, CLOCKS[clock]
    times = np.append(training.seconds / 64 ** (1 - np.arange(1, SNAPSHOTS + 1) / SNAPSHOTS), np.inf)
    progress, snapshots, ended = Progress(), [], False
    _step(model, dataset.batch(0), 0.0)  # compiles; at a rate of 0 nothing is learnt
    while not ended:
        started = now()
        loss = _step(model, dataset.batch(progress.step), learning_rate(model.settings, progress))
        progress.seconds += now() - started
        progress.step += 1
        progress.train_loss.append(loss)
        ended = progress.seconds >= training.seconds or progress.step >= training.steps or not math.isfinite(loss)
        report(progress.seconds)
        if ended or progress.seconds >= times[0]:
            times = times[times > progress.seconds]
            seen = {name: probe(model, batches) for name, batches in probes.items()}
            del seen["training"]["explained"]
            snapshots.append({"seconds": round(progress.seconds, 2), "step": progress.step, **seen})
    return progress, snapshots


def _step(model: LossModel, batch: Batch, rate: float) -> float:
    """Take one step at a learning rate and return its loss."""
    model.optimizer.learning_rate.assign(rate)
    return float(model.train_on_batch(batch.inputs, batch.target))


def _melody_measures(experiment: Experiment, model: LossModel, dataset: Dataset) -> dict:
    """Return the measures of the melody as the network renders it, and the cost of rendering on the same clock."""
    task, now = experiment.task, CLOCKS[experiment.clock]
    notes = task.melody()[: task.heard]
    target, started = Steinway().render(notes), now()
    with np.errstate(over="ignore", invalid="ignore"):  # a bad network at a low power overflows
        sound = render(notes, trained_model(model, dataset, task.pair(), {}), progress=False)
    seconds = now() - started
    return {
        "measures": measure(target, np.nan_to_num(np.clip(sound, -1e3, 1e3)), [note.start for note in notes]),
        "audio_seconds": round(len(sound) / SAMPLE_RATE, 3),
        "render_seconds": round(seconds, 2),
    }


def probe(model: LossModel, batches: list[Batch]) -> dict:
    """Return the loss on batches and, by group of bins, the explained share of the normalized spectrum's variance. 1 -
    sum |Y - P|^2 / sum |Y|^2 over all frames: 1 is perfect, 0 as good as silence, below 0 worse."""
    edges = bin_edges(model.settings.spectral.bins)
    sums, loss = np.zeros((2, len(edges) - 1)), 0.0
    for batch in batches:
        predicted = model.predict_on_batch(batch.inputs)
        loss += float(model.compute_loss(batch.inputs, batch.target, predicted)) / len(batches)
        target = normalize_pairs(batch.target, model.settings.training.power, model.floor)
        target = ops.convert_to_numpy(target).astype(np.float64)
        energies = (np.sum(values**2, axis=(0, 1, 3)) for values in (target, target - predicted))
        sums += [np.add.reduceat(energy, edges[:-1]) for energy in energies]
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


def explained(result: dict, low: float, high: float, at: int = -1) -> float:
    """Return the mean explained share of the variance from `low` to `high` Hz at a probe; 0 where no bin lies."""
    edges = np.array(result["bin_edges"]) * result["bin_hz"]
    middle, values = (edges[1:] + edges[:-1]) / 2, np.clip(result["snapshots"][at]["melody"]["explained"], 0, 1)
    inside = (middle >= low) & (middle < high)
    return float(np.average(values[inside], weights=np.diff(edges)[inside])) if inside.any() else 0.0


def highest_learnt_hz(result: dict, at: int = -1) -> float:
    """Return the upper edge (Hz) of the highest third-octave band of which a probe explains at least a tenth, or 0."""
    bands = pairwise(third_octave_edges(100.0, result["bin_edges"][-1] * result["bin_hz"]))
    return float(max((high for low, high in bands if explained(result, low, high, at) >= 0.1), default=0.0))


def frames_per_second(result: dict) -> float:
    """Return the frames a row was trained on per second."""
    training = result["settings"]["training"]
    return result["steps"] * training["batch"] * training["frames"] / max(result["seconds"], 0.1)  # as it is rounded


def results_table(results: dict[str, dict]) -> str:
    """Return results by row as a Markdown table: cost, what is learnt of the spectrum, and the melody's measures."""
    columns = {"parameters": "{parameters:,}", "steps": "{steps}", "frames/s": "{speed:.0f}",
               "learnt Hz": "{learnt:.0f}", "up to Hz": "{highest:.0f}", "correlation": "{measures[correlation]:.3f}",
               "SNR dB": "{measures[snr_db]:.1f}", "attack LSD dB": "{measures[attack_lsd_db]:.1f}",
               "sustain LSD dB": "{measures[sustain_lsd_db]:.1f}",
               "multi-scale loss": "{measures[multi_scale_loss]:.1f}"}  # fmt: skip
    rows = {
        row if result["finite"] else f"{row} (diverged)": result
        | {"learnt": learnt_hz(result), "highest": highest_learnt_hz(result), "speed": frames_per_second(result)}
        for row, result in results.items()
    }
    return measures_table(rows, columns)
