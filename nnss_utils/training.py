"""Training: one loop for every network, interrupted and resumed as if nothing had happened (notebook 05_train)."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from nnss_utils import models
from nnss_utils.batches import WORKERS, batch_inputs, batches_ahead, on_device
from nnss_utils.catalogue import ARCHITECTURES, LOSSES, SOUND_LOSSES
from nnss_utils.checkpoint import Progress, interruptible, restore_checkpoint, save_checkpoint
from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.modelfile import TrainedModel, read_metadata, run_file, save_model
from nnss_utils.normalization import FLOOR, LOGARITHM, denormalize_pairs, normalize, normalize_pairs
from nnss_utils.pair import Pair
from nnss_utils.paths import RUNS, shown, write_json
from nnss_utils.sampling import Batch, PairSampler
from nnss_utils.tuning import estimate_tuning
from nnss_utils.wav import unload

CHECKPOINT_SECONDS = 60
VALIDATION_STEPS = 50
READ_STEPS = 10  # between two looks at the losses
WARM_UP_STEPS = 30
SLACK = 0.15  # part of the time by which steps may lag before the clock sets the learning rate
MIX_FLOOR = 1e-5  # magnitude (-100 dB): where voices cancel, a power's gradient would else drown all others


class Trainer(keras.Model):
    """A network with its way from a batch to a normalized prediction; Keras does the steps."""

    def __init__(self, network: keras.Model, settings: Settings, level: float, *, mixed: bool = False) -> None:
        """Wrap `network` to be trained by `settings`; its outputs and the loss count in units of `level`.

        With `mixed`, voices are added before they are compared.
        """
        super().__init__()
        self.network, self.settings, self.level = network, settings, level
        self.floor = MIX_FLOOR if mixed else FLOOR
        optimizer = keras.optimizers.Adam(settings.training.learning_rate, global_clipnorm=1.0)
        if settings.training.precision == "mixed_float16":  # whose small gradients would else vanish
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.compile(optimizer=optimizer, jit_compile=keras.backend.backend() != "torch")

    def step(self, batch: Batch):
        """Take one step and return its loss where it was computed: nobody waits for it until it is read."""
        inputs, target = batch_inputs(batch), batch.target
        if keras.backend.backend() != "tensorflow":
            return self.train_on_batch(inputs, target)
        self.make_train_function()
        self.reset_metrics()
        return self.train_function(iter([(inputs, target, None)]))["loss"]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a batch: `x` its inputs, `y` the target's spectra, `y_pred` what `call` returned."""
        loss, power = self.settings.training.loss, self.settings.training.power
        if loss in LOSSES:
            return LOSSES[loss](normalize_pairs(y, power, self.floor) / self.level, y_pred / self.level)
        start = x.get("start") if self.settings.spectral.heterodyne else None
        spectra = (y, denormalize_pairs(y_pred, power))
        return SOUND_LOSSES[loss](*(models.sounds_of(s, self.settings.spectral, start) for s in spectra))

    def call(self, inputs: dict):
        """Return the normalized prediction (examples, frames, bins, 2) of a batch's inputs."""
        power = self.settings.training.power
        if not self.settings.network.per_voice:
            return models.predict_mix(self.network, inputs, power, self.level)
        voices = models.predict_voices(self.network, inputs, power, self.level)
        gain = ops.reshape(inputs["gain"], (-1, 1, 1, 1))
        if "example" not in inputs:  # one voice in each example
            return voices * gain**power if power != LOGARITHM else self._louder(voices, gain)
        sounds = denormalize_pairs(voices, power) * gain
        mixed = ops.segment_sum(sounds, inputs["example"], num_segments=self.settings.training.batch)
        return normalize_pairs(mixed, power, self.floor)

    def _louder(self, voices, gain):
        """Return normalized voices with `gain`, where a gain is no factor of the normalized spectra."""
        return normalize_pairs(denormalize_pairs(voices, LOGARITHM) * gain, LOGARITHM)


def fingerprint(settings: Settings, pair: Pair) -> str:
    """Return a digest of all that decides what a training makes."""
    digest = hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode())
    digest.update(repr(pair.notes).encode())
    for at in range(0, len(pair.audio), 2**22):
        digest.update(np.ascontiguousarray(pair.audio[at : at + 2**22]).data)
        unload(pair.audio)
    return digest.hexdigest()


def is_trained(settings: Settings, pair: Pair) -> bool:
    """Return whether the model of these settings and this pair is there already."""
    path = run_file(settings.name)
    return path.is_file() and read_metadata(path)["training"].get("fingerprint") == fingerprint(settings, pair)


def learning_rate(settings: Settings, progress: Progress) -> float:
    """Return the rate of the next step: a short warm-up, then half a cosine over the steps.

    Only a machine so slow that time runs out first, by more than SLACK, follows the seconds instead: elsewhere
    the same parameters give the same network.
    """
    training = settings.training
    time_done = progress.seconds / training.seconds
    done = min(1.0, max(progress.step / training.steps, time_done - SLACK * (1 - time_done)))
    warm_up = min(1.0, (progress.step + 1) / WARM_UP_STEPS)
    return training.learning_rate * warm_up * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))


class Watch(Protocol):
    """Who looks at a training while it goes on (monitor.TrainingView); the time of looking is not training's."""

    def due(self, progress: Progress) -> bool:
        """Return whether it is time to look."""

    def __call__(self, progress: Progress, model: TrainedModel) -> None:
        """Look."""


def train(pair: Pair, settings: Settings, watch: Watch | None = None) -> TrainedModel:
    """Train a network on a pair, save it under data/runs/NAME and return it; `watch` looks on, and changes nothing.

    An interrupted training of the same settings and pair goes on where it was. Raises `InputError` for a pair
    that can't teach, KeyboardInterrupt after an interruption (the checkpoint saved).
    """
    trainer, sampler = prepare(pair, settings)
    network = trainer.network
    checkpoint = RUNS / settings.name / "checkpoint.npz"
    identity = fingerprint(settings, pair)
    progress = restore_checkpoint(checkpoint, network, trainer.optimizer, identity)

    def look(last: bool = False) -> None:
        if watch is not None and (last or watch.due(progress)):
            watch(progress, trained_model(trainer, sampler, pair, {}))

    _loop(trainer, sampler, progress, checkpoint, identity, look)
    look(last=True)
    summary = {
        "fingerprint": identity,
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "parameters": network.count_params(),
        "train_loss": progress.train_loss[-1],
        "validation_loss": progress.validation[-1][1] if progress.validation else None,
        "pair": pair.description,
        "late": pair.late,
    }
    lent = models.borrow_tables(network, {note.pitch for note in pair.notes}, *pair.pitches)
    if lent:
        print(f"no note of the pair has the pitches {', '.join(map(str, lent))}: they sound after their neighbours")
    model = trained_model(trainer, sampler, pair, summary)
    save_model(run_file(settings.name), model)
    write_json(
        RUNS / settings.name / "training.json",
        {"settings": settings.to_dict(), **summary, **curves(progress)},
    )
    checkpoint.unlink(missing_ok=True)
    return model


def prepare(pair: Pair, settings: Settings) -> tuple[Trainer, PairSampler]:
    """Return a fresh network ready to be trained on a pair, and what draws its batches; sets every random seed."""
    keras.utils.set_random_seed(settings.training.seed)
    low, high = pair.pitches
    inharmonic = settings.codification.kind == "inharmonic"
    tuning = estimate_tuning(pair.audio, pair.notes, low, high) if inharmonic else None
    unload(pair.audio)
    sampler = PairSampler(pair.notes, pair.audio, settings, tuning)
    first = sampler.batch(0)
    level = normalized_level(first.target, settings.training.power)
    sizes = settings.network.layers, settings.network.units, settings.spectral.bins
    with precision(settings.training.precision):
        network = ARCHITECTURES[settings.network.architecture].build(*sizes)
    trainer = Trainer(network, settings, level, mixed=sampler.mixed)
    trainer(keras.tree.map_structure(ops.convert_to_tensor, batch_inputs(first)))
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer, sampler


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Make the layers that are built in its body compute by a Keras policy such as "mixed_bfloat16"."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)


def trained_model(trainer: Trainer, sampler: PairSampler, pair: Pair, summary: dict) -> TrainedModel:
    """Return what a training made, ready to be used or saved; `summary` says how it went."""
    return TrainedModel(
        trainer.network,
        trainer.settings,
        sampler.tuning,
        trainer.level,
        pair.instrument,
        *pair.pitches,
        sampler.longest,
        summary,
    )


def normalized_level(target: np.ndarray, power: float | str) -> float:
    """Return the root mean square of normalized spectra given as pairs; raises `InputError` for silence."""
    if power == LOGARITHM:
        level = float(np.sqrt(np.mean(np.abs(normalize(target[..., 0] + 1j * target[..., 1], power)) ** 2) / 2))
    else:
        level = float(np.sqrt(np.mean(np.sum(np.square(target), axis=-1) ** power) / 2))
    if level == 0:
        raise InputError("the pair is silent where its notes are; give a WAV that sounds with its MIDI file")
    return level


def curves(progress: Progress) -> dict:
    """Return the loss curves as lists for JSON."""
    steps, values = zip(*progress.validation, strict=True) if progress.validation else ((), ())
    return {
        "train_curve": progress.train_loss,
        "validation_curve": {"step": list(steps), "loss": list(values)},
    }


def _loop(
    trainer: Trainer,
    sampler: PairSampler,
    progress: Progress,
    checkpoint: Path,
    identity: str,
    look: Callable[[], None],
) -> None:
    """Take steps until the settings' steps or seconds are done; batches are made ahead in a second thread."""
    settings = trainer.settings
    steps, seconds = settings.training.steps, settings.training.seconds
    validation = on_device(sampler.validation_batch())
    losses = []  # of the steps since the last time that they were read
    begun, before = time.monotonic(), progress.seconds
    saved = begun
    with (
        interruptible() as interrupted,
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(total=100, desc=f"training {settings.name}", unit="%", bar_format=BAR) as bar,
    ):
        batches = batches_ahead(pool, sampler, progress.step, steps, settings.training.echo)
        while progress.step < steps and progress.seconds < seconds:
            batch = next(batches)
            trainer.optimizer.learning_rate.assign(learning_rate(settings, progress))
            losses.append(trainer.step(batch))
            progress.step += 1
            progress.seconds = before + time.monotonic() - begun
            last = progress.step >= steps or progress.seconds >= seconds
            due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if last or due or progress.step % READ_STEPS == 0:
                _read(losses, progress, settings)
                paused = time.monotonic()
                look()
                looked = time.monotonic() - paused
                begun, saved = begun + looked, saved + looked
            if validation and (last or progress.step % VALIDATION_STEPS == 0):
                value = float(trainer.test_on_batch(batch_inputs(validation), validation.target))
                progress.validation.append((progress.step, value))
            _show(bar, progress, settings)
            if interrupted.is_set() and not last:
                _read(losses, progress, settings)
                save_checkpoint(checkpoint, trainer.network, trainer.optimizer, progress, identity)
                bar.close()
                print(f"interrupted; {shown(checkpoint)} keeps step {progress.step}: run the same again to go on")
                raise KeyboardInterrupt
            if due:
                save_checkpoint(checkpoint, trainer.network, trainer.optimizer, progress, identity)
                saved = time.monotonic()


def _read(losses: list, progress: Progress, settings: Settings) -> None:
    """Move the losses of the last steps from the device to `progress`; raises `InputError` if one is not finite."""
    for loss in map(float, losses):
        if not math.isfinite(loss):
            raise InputError(
                f"training of {settings.name} diverged at step {len(progress.train_loss)}: "
                f"give a learning_rate below {settings.training.learning_rate:g}"
            )
        progress.train_loss.append(loss)
    losses.clear()


BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}"


def _show(bar: tqdm, progress: Progress, settings: Settings) -> None:
    """Bring the progress bar up to date, a few times a second."""
    done = max(progress.step / settings.training.steps, progress.seconds / settings.training.seconds)
    validation = f" validation {progress.validation[-1][1]:.5f}" if progress.validation else ""
    loss = f" loss {progress.train_loss[-1]:.5f}" if progress.train_loss else ""
    bar.set_postfix_str(f"step {progress.step}{loss}{validation}", refresh=False)
    bar.update(min(100.0, 100 * done) - bar.n)
