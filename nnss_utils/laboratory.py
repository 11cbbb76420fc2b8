"""The laboratory: any configuration trained for equal time on one task, measured alike (notebooks 03, 04, 07).

Each row is one training on one core. Its result is kept as JSON under data/results/laboratory with all that
decides it, so that a table is rebuilt without training, and a sweep that was cut off goes on with the rows it lacks.
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

import keras
import numpy as np
from keras import ops

from nnss_utils import catalogue, metrics
from nnss_utils.batches import batch_inputs
from nnss_utils.checkpoint import Progress
from nnss_utils.config import Settings
from nnss_utils.errors import check_choice, check_number
from nnss_utils.instrument import SampledPiano
from nnss_utils.midi import Note
from nnss_utils.normalization import normalize_pairs
from nnss_utils.pair import Pair, make_pair
from nnss_utils.paths import RESULTS, read_json, shown, write_json
from nnss_utils.provenance import made_with
from nnss_utils.sampling import Batch, PairSampler
from nnss_utils.scores import scale_sequence
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.synthesis import render
from nnss_utils.trainer import Trainer, prepare
from nnss_utils.training import learning_rate, trained_model

FOLDER = RESULTS / "laboratory"
SNAPSHOTS = 12  # looks at what is learnt, in equal ratios from 1/64 of the time to its end
EXAMPLES = 96  # examples (sequences or single frames, at random positions) that a look sees at least
GAP = 0.45  # s between the notes that looks see, so that each is alone
FINE, COARSE = 64, 8  # bins with a value of their own in the learning map, and how many above share one


@dataclass(frozen=True)
class Task:
    """What every row learns, a scale over some keys of the piano, and a melody on these keys it is measured by.

    Looks see the melody's `notes` alone; the first `heard` of them are played and measured as sound. voices: so
    many scales are played at once; jitter: the instrument plays each note up to so many samples late.
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
        pair = make_pair(sorted(note for scale in scales for note in scale), SampledPiano())
        return dataclasses.replace(pair, audio=SampledPiano().render(self._late(pair.notes))) if self.jitter else pair

    def _late(self, notes: Sequence[Note]) -> list[Note]:
        """Return notes each late by a random part of the jitter."""
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
    """One row: a name for tables, the settings whose `seconds` are its time, the task, and the clock.

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
        """A digest of all that decides the result and is not as usual, so that a parameter to come changes none."""
        content = _unusual(self.to_dict(), Experiment("", Settings()).to_dict())
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
    """Return what of nested dictionaries is not as in `usual`."""
    parts = {key: _unusual(v, usual[key]) if isinstance(v, dict) else v for key, v in content.items()}
    return {key: value for key, value in parts.items() if value != ({} if isinstance(value, dict) else usual[key])}


def _agrees(stored: dict, now: dict) -> bool:
    """Return whether all that a stored configuration says is still so."""
    return all(
        key in now and (_agrees(value, now[key]) if isinstance(value, dict) else value == now[key])
        for key, value in stored.items()
    )


def own_functions(settings: Settings) -> list[tuple[str, str, Callable]]:
    """Return (kind, name, function) of what the settings use that a user added to the catalogue."""
    used = [
        ("WINDOWS", settings.spectral.window),
        ("LOSSES", settings.training.loss),
        ("SOUND_LOSSES", settings.training.loss),
        ("ARCHITECTURES", settings.network.architecture),
    ]
    found = [(kind, name, getattr(catalogue, kind).get(name)) for kind, name in used]
    built = [(kind, name, getattr(entry, "build", entry)) for kind, name, entry in found if entry is not None]
    return [entry for entry in built if not entry[2].__module__.startswith("nnss_utils")]


def kept(experiment: Experiment) -> dict | None:
    """Return an experiment's result if it was made before, whatever its row was called then."""
    now = experiment.to_dict()
    for path in sorted(FOLDER.glob(f"*-{experiment.identity}.json")):
        try:
            result = read_json(path)
            if _agrees({key: result[key] for key in now}, now):
                return result | {"row": experiment.row}
        except (ValueError, KeyError):
            print(f"{shown(path)} is damaged: made anew")
    return None


def run_experiment(experiment: Experiment, report: Callable[[float], None] = lambda seconds: None) -> dict:
    """Train and measure one row, keep its result and return it; `report` is told the seconds trained so far."""
    settings, task = experiment.settings, experiment.task
    trainer, sampler = prepare(task.pair(), settings)
    fresh = [sampler.batch(10**6 + i) for i in range(_batches(settings))]  # of the pair, at positions of their own
    looks = {"training": fresh, "melody": _melody_batches(task, settings, sampler)}
    progress, snapshots = train_for(trainer, sampler, looks, experiment.clock, report)
    result = {
        "row": experiment.row,
        **experiment.to_dict(),
        "parameters": trainer.network.count_params(),
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "finite": math.isfinite(progress.train_loss[-1]),
        "snapshots": snapshots,
        "bin_edges": bin_edges(settings.spectral.bins),
        "bin_hz": settings.spectral.rate / settings.spectral.frame_length,
        **_heard(experiment, trainer, sampler),
        **made_with(sampler.notes, sampler.audio),
    }
    keras.utils.clear_session()
    write_json(experiment.path, result, indent=None)
    return result


def train_for(
    trainer: Trainer, sampler: PairSampler, looks: dict[str, list[Batch]], clock: str, report: Callable
) -> tuple[Progress, list[dict]]:
    """Train for the settings' seconds, compiling and looking apart; return how it went and a look at each time."""
    training, now = trainer.settings.training, time.process_time if clock == "cpu" else time.monotonic
    times = np.append(training.seconds / 64 ** (1 - np.arange(1, SNAPSHOTS + 1) / SNAPSHOTS), np.inf)
    progress, snapshots, due, ended = Progress(), [], 0, False
    _step(trainer, sampler.batch(0), 0.0)  # compiles; at a rate of 0 nothing is learnt
    while not ended:
        begun = now()
        loss = _step(trainer, sampler.batch(progress.step), learning_rate(trainer.settings, progress))
        progress.seconds += now() - begun
        progress.step += 1
        progress.train_loss.append(loss)
        ended = progress.seconds >= training.seconds or progress.step >= training.steps or not math.isfinite(loss)
        report(progress.seconds)
        if ended or progress.seconds >= times[due]:
            due = int(np.searchsorted(times, progress.seconds, side="right"))
            at = {"seconds": round(progress.seconds, 2), "step": progress.step}
            seen = {name: look(trainer, batches) for name, batches in looks.items()}
            snapshots.append(at | {"melody": seen["melody"], "training": {"loss": seen["training"]["loss"]}})
    return progress, snapshots


def _step(trainer: Trainer, batch: Batch, rate: float) -> float:
    """Take one step at a learning rate and return its loss."""
    trainer.optimizer.learning_rate.assign(rate)
    return float(trainer.train_on_batch(batch_inputs(batch), batch.target))


def _batches(settings: Settings) -> int:
    """Return how many batches a look needs."""
    return -(-EXAMPLES // settings.training.batch)


def _melody_batches(task: Task, settings: Settings, sampler: PairSampler) -> list[Batch]:
    """Return batches of the task's melody, each note alone, which the training never draws from."""
    notes = task.melody(GAP)
    alone = dataclasses.replace(settings, training=dataclasses.replace(settings.training, holdout=0.0, seed=0))
    drawn = PairSampler(notes, SampledPiano().render(notes), alone, sampler.tuning)
    return [drawn.batch(i) for i in range(_batches(settings))]


def look(trainer: Trainer, batches: list[Batch]) -> dict:
    """Return the loss on batches and, by group of bins, the part of the normalized spectrum's variance explained.

    1 - sum |Y - P|^2 / sum |Y|^2 over all frames: 1 is perfect, 0 is silence's or the mean phase's, below 0 worse.
    """
    edges = bin_edges(trainer.settings.spectral.bins)
    sums, loss = np.zeros((2, len(edges) - 1)), 0.0
    for batch in batches:
        predicted = trainer.predict_on_batch(batch_inputs(batch))
        loss += float(trainer.compute_loss(batch_inputs(batch), batch.target, predicted)) / len(batches)
        target = normalize_pairs(batch.target, trainer.settings.training.power, trainer.floor)
        target = ops.convert_to_numpy(target).astype(np.float64)
        for row, values in zip(sums, (target, target - predicted), strict=True):
            row += np.add.reduceat(np.sum(values**2, axis=(0, 1, 3)), edges[:-1])
    explained = np.where(sums[0] > 0, 1 - sums[1] / np.maximum(sums[0], 1e-30), 0)
    explained = np.nan_to_num(np.clip(explained, -9, 1), nan=-9)
    return {"loss": loss if math.isfinite(loss) else None, "explained": [round(float(x), 3) for x in explained]}


def bin_edges(bins: int) -> list[int]:
    """Return the first bin of each group of the learning map, and the end: single bins below, COARSE above."""
    return [*range(min(FINE, bins)), *range(FINE, bins, COARSE), bins]


def learnt_hz(result: dict, at: int = -1) -> float:
    """Return the learnt bandwidth of a look in Hz: the sum over bins of the variance explained, times a bin's width."""
    explained = np.clip(result["snapshots"][at]["melody"]["explained"], 0, 1)
    return float(np.sum(explained * np.diff(result["bin_edges"])) * result["bin_hz"])


def highest_learnt_hz(result: dict, at: int = -1, least: float = 0.1) -> float:
    """Return the upper edge (Hz) of the highest third of an octave of which a look explains at least `least`, or 0."""
    edges = np.array(result["bin_edges"]) * result["bin_hz"]
    explained = np.clip(result["snapshots"][at]["melody"]["explained"], 0, 1)
    middle, width, top = (edges[1:] + edges[:-1]) / 2, np.diff(edges), 0.0
    for low, high in pairwise(100 * 2 ** (np.arange(25) / 3)):
        inside = (middle >= low) & (middle < high)
        if inside.any() and np.average(explained[inside], weights=width[inside]) >= least:
            top = high
    return float(min(top, edges[-1]))


def frames_a_second(result: dict) -> float:
    """Return how many frames a row was trained on in a second."""
    training = result["settings"]["training"]
    return result["steps"] * training["batch"] * training["frames"] / max(result["seconds"], 0.1)  # as it is rounded


def results_table(results: dict[str, dict]) -> str:
    """Return results by row as a Markdown table: cost, what is learnt of the spectrum, and the melody's measures."""
    heads = ("", "parameters", "steps", "frames/s", "learnt Hz", "up to Hz", "correlation", "SNR dB",
             "attack LSD dB", "sustain LSD dB", "multi-scale loss")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row, result in results.items():
        m = result["measures"]
        speed = frames_a_second(result)
        cells = [row, f"{result['parameters']:,}", f"{result['steps']}", f"{speed:.0f}", f"{learnt_hz(result):.0f}",
                 f"{highest_learnt_hz(result):.0f}", f"{m['correlation']:.3f}", f"{m['snr_db']:.1f}",
                 f"{m['attack_lsd_db']:.1f}", f"{m['sustain_lsd_db']:.1f}", f"{m['multi_scale_loss']:.1f}"]  # fmt: skip
        lines.append("| " + " | ".join(cells if result["finite"] else [row, *cells[1:4], *["diverged"] * 7]) + " |")
    return "\n".join(lines)


def _heard(experiment: Experiment, trainer: Trainer, sampler: PairSampler) -> dict:
    """Return the measures of the melody as the network plays it, and what playing cost on the same clock."""
    task = experiment.task
    notes = task.melody()[: task.heard]
    target = SampledPiano().render(notes)
    now = time.process_time if experiment.clock == "cpu" else time.monotonic
    begun = now()
    with np.errstate(over="ignore", invalid="ignore"):  # a low power of a bad network: as loud as it gets
        sound = render(notes, trained_model(trainer, sampler, task.pair(), {}), progress=False)
    seconds = now() - begun
    finite = np.nan_to_num(np.clip(sound, -1e3, 1e3))
    return {
        "measures": metrics.measure(target, finite, np.array([note.start for note in notes])),
        "audio_seconds": round(len(sound) / SAMPLE_RATE, 3),
        "render_seconds": round(seconds, 2),
    }
