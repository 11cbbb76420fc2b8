"""The trainable model: a network and its loss on a batch (notebook 05_train)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nnss_utils.dsp.normalization import FLOOR, LOGARITHM, normalize
from nnss_utils.errors import InputError
from nnss_utils.instruments.modes import measure_modes
from nnss_utils.instruments.pair import Pair
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.forward import MODES_FLOOR, SUM_FLOOR, predict, predict_spectra
from nnss_utils.model.losses import LOSSES, SOUND_LOSSES
from nnss_utils.model.pairs import as_complex, denormalize_pairs, istft_pairs, normalize_pairs
from nnss_utils.model.settings import Settings, build_network
from nnss_utils.paths import release_pages
from nnss_utils.training.dataset import Batch, Dataset, make_dataset


class LossModel(keras.Model):
    """A network with its way from a batch to a normalized prediction and a loss; Keras takes the steps."""

    def __init__(self, network: keras.Model, settings: Settings, output_scale: float, *, mixed: bool = False) -> None:
        """Wrap `network` to be trained by `settings`; its outputs and the loss count in units of `output_scale`. mixed:
        voices are added before they are compared."""
        super().__init__()
        self.network, self.settings, self.output_scale = network, settings, output_scale
        self.floor = SUM_FLOOR if mixed else MODES_FLOOR if settings.network.kind.modes else FLOOR
        optimizer = keras.optimizers.Adam(settings.training.learning_rate, global_clipnorm=1.0)
        if settings.training.precision == "mixed_float16":  # small gradients do not vanish
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.compile(optimizer=optimizer, jit_compile=keras.backend.backend() != "torch")

    def step(self, batch: Batch):
        """Take one step and return its loss as a tensor, which is not waited for until it is read."""
        if keras.backend.backend() != "tensorflow":
            return self.train_on_batch(batch.inputs, batch.target)
        self.make_train_function()
        self.reset_metrics()
        return self.train_function(iter([(batch.inputs, batch.target, None)]))["loss"]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a batch: `x` its inputs, `y` the target's spectra, `y_pred` what `call` returned."""
        loss, power = self.settings.training.loss, self.settings.training.power
        if loss in LOSSES:
            return LOSSES[loss](normalize_pairs(y, power, self.floor) / self.output_scale, y_pred / self.output_scale)
        start = x.get("start") if self.settings.spectral.heterodyne else None
        spectra = (y, denormalize_pairs(y_pred, power))
        return SOUND_LOSSES[loss](*(istft_pairs(s, self.settings.spectral, start) for s in spectra))

    def call(self, inputs: dict):
        """Return the normalized prediction (examples, frames, bins, 2) of a batch's inputs."""
        power, arguments = self.settings.training.power, (self.network, inputs, self.settings, self.output_scale)
        if not self.settings.network.kind.per_voice:
            return predict(*arguments)
        gain = ops.reshape(inputs["gain"], (-1, 1, 1, 1))
        if "example" in inputs or power == LOGARITHM:  # a gain is no factor of a normalized logarithm
            sounds = predict_spectra(*arguments) * gain
            if "example" in inputs:
                sounds = ops.segment_sum(sounds, inputs["example"], num_segments=self.settings.training.batch)
            return normalize_pairs(sounds, power, self.floor)
        return predict(*arguments) * gain**power


def prepare(pair: Pair, settings: Settings) -> tuple[LossModel, Dataset]:
    """Return a fresh network ready to be trained on a pair, and the pair's dataset; sets every random seed."""
    keras.utils.set_random_seed(settings.training.seed)
    low, high = pair.pitches
    inharmonic = settings.codification.kind == "inharmonic"
    tuning = estimate_tuning(pair.audio, pair.notes, low, high) if inharmonic else None
    if settings.network.kind.modes:
        tuning = measure_modes(pair.audio, pair.notes, tuning)
    release_pages(pair.audio)
    dataset = make_dataset(pair.notes, pair.audio, settings, tuning)
    first = dataset.batch(0)
    output_scale = normalized_rms(first.target, settings.training.power)
    with precision(settings.training.precision):
        network = build_network(settings, *dataset.heard.tables)
    model = LossModel(network, settings, output_scale, mixed=dataset.mixed)
    model(keras.tree.map_structure(ops.convert_to_tensor, first.inputs))
    model.optimizer.build(model.trainable_variables)
    return model, dataset


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Make the layers that are built in its body compute by a Keras policy such as "mixed_bfloat16"."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def normalized_rms(target: np.ndarray, power: float | str) -> float:
    """Return the root mean square of normalized spectra given as pairs; raises `InputError` for silence."""
    rms = float(np.sqrt(np.mean(np.abs(normalize(as_complex(target), power)) ** 2) / 2))
    if rms == 0:
        raise InputError("the pair is silent where its notes are; give a WAV that sounds with its MIDI file")
    return rms
