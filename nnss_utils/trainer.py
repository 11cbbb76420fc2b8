"""What is trained: a network with its way from a batch to a loss, and how it is made ready (notebook 05_train)."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from nnss_utils import models
from nnss_utils.batches import batch_inputs
from nnss_utils.catalogue import ARCHITECTURES, LOSSES, SOUND_LOSSES
from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.normalization import FLOOR, LOGARITHM, denormalize_pairs, normalize, normalize_pairs
from nnss_utils.pair import Pair
from nnss_utils.sampling import Batch, PairSampler
from nnss_utils.tuning import estimate_tuning
from nnss_utils.wav import unload

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


def normalized_level(target: np.ndarray, power: float | str) -> float:
    """Return the root mean square of normalized spectra given as pairs; raises `InputError` for silence."""
    if power == LOGARITHM:
        level = float(np.sqrt(np.mean(np.abs(normalize(target[..., 0] + 1j * target[..., 1], power)) ** 2) / 2))
    else:
        level = float(np.sqrt(np.mean(np.sum(np.square(target), axis=-1) ** power) / 2))
    if level == 0:
        raise InputError("the pair is silent where its notes are; give a WAV that sounds with its MIDI file")
    return level
