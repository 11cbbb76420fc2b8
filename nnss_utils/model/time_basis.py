"""The time since a note's start and end on a Gaussian basis: the features of a mask network (notebook 12). Bases widen
away from the event: a linear layer of them is a curve, fast in the attack and slow in the sustain."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnss_utils import SAMPLE_RATE

WIDTH = 0.75  # standard deviation of a Gaussian, in distances between two


@dataclass(frozen=True)
class GaussianBasis:
    """Gaussians `low`..`high` s from an event, first `finest` s apart, then wider by `growth`; 1 beyond both ends."""

    low: float
    high: float
    finest: float
    growth: float

    def _warped(self, seconds):
        """Return the time axis on which the Gaussians are 1 apart."""
        return np.sign(seconds) * np.log1p(self.growth * np.abs(seconds) / self.finest) / self.growth

    @cached_property
    def centres(self) -> np.ndarray:
        """Places of the Gaussians on that axis (count,)."""
        return np.arange(np.floor(self._warped(self.low)), np.ceil(self._warped(self.high)) + 1)

    @property
    def seconds(self) -> np.ndarray:
        """Times of the Gaussians' middles (count,)."""
        return np.sign(self.centres) * np.expm1(self.growth * np.abs(self.centres)) * self.finest / self.growth

    @property
    def count(self) -> int:
        """Number of Gaussians."""
        return len(self.centres)

    def until(self, seconds: float) -> int:
        """Return the number of Gaussians before a time."""
        return int(np.sum(self.centres < self._warped(seconds)))

    def __call__(self, seconds: np.ndarray) -> np.ndarray:
        """Return float32 (..., count) of times since the event in seconds (...), negative before it."""
        at = np.clip(self._warped(np.asarray(seconds, np.float64)), self.centres[0], self.centres[-1])
        distance = (at.astype(np.float32)[..., None] - self.centres.astype(np.float32)) / np.float32(WIDTH)
        return np.exp(np.float32(-0.5) * np.square(distance))


SINCE_ON = GaussianBasis(low=-0.03, high=15.0, finest=0.008, growth=0.06)
SINCE_OFF = GaussianBasis(low=-0.03, high=10.0, finest=0.008, growth=0.1)
ATTACK = GaussianBasis(low=-0.03, high=0.95, finest=0.01, growth=0.002)  # finer: noise above SPLIT changes fast
FEATURES = SINCE_ON.count + SINCE_OFF.count + 1


def note_features(
    since_on: np.ndarray, since_off: np.ndarray, velocity: np.ndarray, longest: float | np.ndarray
) -> np.ndarray:
    """Return float32 (..., FEATURES): both events' bases and velocity / 127. since_on, since_off: samples (...) from
    the event to the frame's middle; velocity broadcasts to them. A note's time stands still `longest` seconds after its
    start, the longest that training has seen."""
    on = SINCE_ON(np.minimum(np.asarray(since_on) / SAMPLE_RATE, longest))
    off = SINCE_OFF(np.asarray(since_off) / SAMPLE_RATE)
    level = np.broadcast_to(np.float32(velocity) / 127, np.shape(since_on))[..., None]
    return np.concatenate([on, off, level], axis=-1).astype(np.float32)
