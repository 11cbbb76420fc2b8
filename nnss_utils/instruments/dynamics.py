"""How loud each key is at each velocity, measured on a pair whose notes have a few velocities each (notebook
15_velocities). A velocity between two that were heard is a crossfade of both, at a level between theirs in dB."""

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import check_number
from nnss_utils.midi import Note, samples_of

MOST = 8  # velocities of a pair that are told apart: of more, each key has too few notes at each
SECONDS = 0.5  # of a note that tell its level, at most
LEAST_ENERGY = 0.25  # of a crossfade of two sounds of energy 1: where they cancel, noise is not raised
STEEPEST = 1.0  # dB from a velocity to the next below the softest one heard, at most


@dataclass(frozen=True)
class Dynamics:
    """The velocities that were heard, ascending, and for each key from `low` up `levels`, in dB at each velocity, and
    `alike`, the correlation of its sounds at each two neighbouring ones. Raises ValueError unless these fit."""

    low: int
    velocities: tuple[int, ...]
    levels: tuple[tuple[float, ...], ...]
    alike: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for velocity in self.velocities:
            check_number("velocity", velocity, 1, 127, integer=True)
        for name, rows, least, most in (("level", self.levels, -400, 400), ("correlation", self.alike, -1, 1)):
            for value in itertools.chain(*rows):
                check_number(name, value, least, most)
        count = len(self.velocities)
        ascending = 2 <= count <= MOST and self.velocities == tuple(sorted(set(self.velocities)))
        complete = len(self.levels) == len(self.alike) and {len(row) + 1 for row in self.alike} == {count}
        if not ascending or not complete or {len(row) for row in self.levels} != {count}:
            raise ValueError("velocities and their levels do not fit")

    def level(self, pitch: int, velocity: int) -> float:
        """Return a key's level in dB at a velocity: on a line between those heard. Outside of them it goes on as the
        square of the velocity does, below the softest one along its tangent."""
        softest, loudest = self.velocities[0], self.velocities[-1]
        level = float(np.interp(velocity, self.velocities, self.levels[pitch - self.low]))
        below = min(40 / np.log(10) / softest, STEEPEST) * max(0, softest - velocity)
        return level - below + 40 * np.log10(max(1, velocity / loudest))

    def layers(self, pitch: int, velocity: int) -> list[tuple[int, float]]:
        """Return the heard velocities, and the factors, of the sounds of level 0 dB that add up to a velocity's: their
        sum has its level, however alike they are."""
        shares, gain = crossfade(velocity, self.velocities), 10 ** (self.level(pitch, velocity) / 20)
        if len(shares) == 2:
            alike = self.alike[pitch - self.low][self.velocities.index(shares[0][0])]
            (_, soft), (_, loud) = shares
            gain /= np.sqrt(max(soft**2 + loud**2 + 2 * soft * loud * alike, LEAST_ENERGY))
        return [(heard, float(share * gain)) for heard, share in shares]

    def nearest(self, velocity: np.ndarray) -> np.ndarray:
        """Return the numbers of the heard velocities that are nearest, int64 (...)."""
        return np.argmin(np.abs(np.subtract.outer(velocity, self.velocities)), axis=-1)


def crossfade(velocity: int, heard: Sequence[int]) -> list[tuple[int, float]]:
    """Return the heard velocities, of ascending ones, that a velocity is played with, and the share of each."""
    at = bisect_left(heard, velocity)
    if at == 0 or at == len(heard) or heard[at] == velocity:
        return [(heard[min(at, len(heard) - 1)], 1.0)]
    soft, loud = heard[at - 1], heard[at]
    share = (velocity - soft) / (loud - soft)
    return [(soft, 1 - share), (loud, share)]


def measure_dynamics(audio: np.ndarray, notes: Sequence[Note]) -> Dynamics | None:
    """Return the dynamics of separate `notes` in audio (samples,), None unless each key was heard at each of 2 to MOST
    velocities. A key without a note lies between its neighbours."""
    longest: dict[tuple[int, int], Note] = {}
    for note in sorted(notes, key=lambda note: note.duration):
        longest[note.pitch, note.velocity] = note
    keys, velocities = (sorted(set(part)) for part in zip(*longest, strict=True))
    if not 2 <= len(velocities) <= MOST or len(longest) < len(keys) * len(velocities):
        return None
    levels, alike, every = [], [], range(keys[0], keys[-1] + 1)
    for key in keys:
        spans = [samples_of(longest[key, velocity]) for velocity in velocities]
        width = min(round(SECONDS * SAMPLE_RATE), *(held for _, held in spans))  # the same of each
        sounds = np.stack([np.pad(audio[at : at + width], (0, max(0, at + width - len(audio)))) for at, _ in spans])
        products = sounds.astype(np.float64) @ sounds.T.astype(np.float64) + 1e-20 * np.eye(len(spans))
        energy = np.diag(products)
        levels.append(10 * np.log10(energy))
        alike.append(np.clip(np.diag(products, 1) / np.sqrt(energy[1:] * energy[:-1]), -1, 1))

    def of_every_key(rows: list) -> tuple:
        between = np.stack([np.interp(every, keys, column) for column in np.transpose(rows)], axis=1)
        return tuple(map(tuple, np.round(between, 4).tolist()))

    return Dynamics(keys[0], tuple(velocities), of_every_key(np.array(levels) - np.max(levels)), of_every_key(alike))
