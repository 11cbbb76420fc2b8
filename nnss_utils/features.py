"""What a mask network is told of its own note beside the codification: time since note-on and note-off, velocity.

Features that saw another note's events would be constant in training and not in a piece: a voice sees its own.
Each time is written as a row of bumps (Gaussians, one lit after the other), narrow at the event and wider with
the distance from it: a linear layer of them is any curve that moves fast in the attack and slowly in the sustain.
"""

from dataclasses import dataclass

import numpy as np

from nnss_utils.spectral import SAMPLE_RATE

WIDTH = 0.75  # standard deviation of a bump, in distances between two


@dataclass(frozen=True)
class Bumps:
    """Bumps over `low`..`high` seconds from an event: `finest` s apart at it, each distance `growth` longer per bump.

    Before and after that range the first and the last stay lit.
    """

    low: float
    high: float
    finest: float
    growth: float

    @property
    def count(self) -> int:
        """How many bumps there are."""
        return len(self._centres())

    def _bent(self, seconds):
        """Return the time axis on which bumps are 1 apart."""
        return np.sign(seconds) * np.log1p(self.growth * np.abs(seconds) / self.finest) / self.growth

    def _centres(self) -> np.ndarray:
        return np.arange(np.floor(self._bent(self.low)), np.ceil(self._bent(self.high)) + 1)

    def __call__(self, seconds: np.ndarray) -> np.ndarray:
        """Return float32 (..., count) of times since the event in seconds (...), negative before it."""
        centres = self._centres()
        at = np.clip(self._bent(np.asarray(seconds, np.float64)), centres[0], centres[-1])[..., None]
        return np.exp(-0.5 * np.square((at - centres) / WIDTH)).astype(np.float32)


SINCE_ON = Bumps(low=-0.03, high=15.0, finest=0.008, growth=0.06)
SINCE_OFF = Bumps(low=-0.03, high=10.0, finest=0.008, growth=0.1)
COUNT = SINCE_ON.count + SINCE_OFF.count + 1


def note_features(since_on: np.ndarray, since_off: np.ndarray, velocity: np.ndarray, longest: float) -> np.ndarray:
    """Return float32 (..., COUNT): both events' bumps and velocity / 127.

    since_on and since_off are samples (...) from the event to the frame's middle; velocity broadcasts to them.
    At `longest` seconds after its start, the longest that training has seen, a note's time stands still.
    """
    on = SINCE_ON(np.minimum(np.asarray(since_on) / SAMPLE_RATE, longest))
    off = SINCE_OFF(np.asarray(since_off) / SAMPLE_RATE)
    level = np.broadcast_to(np.float32(velocity) / 127, np.shape(since_on))[..., None]
    return np.concatenate([on, off, level], axis=-1).astype(np.float32)
