"""A trained network with everything that rendering needs (notebooks 05_train and 06_evaluation)."""

from dataclasses import dataclass

from nnss_utils.instruments.tuning import Tuning
from nnss_utils.model.backend import keras
from nnss_utils.model.inputs import Heard
from nnss_utils.model.settings import Settings


@dataclass(frozen=True)
class TrainedModel:
    """A network with everything that rendering needs, and the record of its training. output_scale: scale of its
    outputs; low, high: MIDI pitches; heard: durations and velocities that training heard."""

    network: keras.Model
    settings: Settings
    tuning: Tuning | None
    output_scale: float
    instrument: str
    low: int
    high: int
    heard: Heard
    training: dict

    @property
    def name(self) -> str:
        """The name it was trained under."""
        return self.settings.name
