"""What judges of claims read: the laboratory's scores, spreads and measures (notebook 07_claims). A score is the
correlation of the melody's waveform. Scores differ if they do so by more than the spread, the largest difference
between two seeds of one row (at least 5 %). A missing row raises KeyError."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nnss_utils.laboratory.experiment import frames_per_second
from nnss_utils.laboratory.grid import BASE, BASES, CLOSE, GROUPS

LEAST_SPREAD = 0.05


def listed(values: Mapping, cell: str = "{} {:.1f}", between: str = ", ") -> str:
    """Return a text: each name with its value in the template `cell`."""
    return between.join(cell.format(name, value) for name, value in values.items())


def has(base: str, label: str) -> bool:
    """Return whether the claims' table has a label's row on a base."""
    return label == BASE or any(label in labels for labels in GROUPS[base].values())


@dataclass
class Evidence:
    """The laboratory's results by row, and facts that are measured without training, as judges read them."""

    rows: Mapping[str, dict]
    facts: dict
    asked: dict[str, None] = field(default_factory=dict)  # names of the rows that were read, in order

    def of(self, base: str, label: str = BASE) -> dict:
        """Return the result of a base with a label's change."""
        self.asked[f"{base}: {label}"] = None
        return self.rows[f"{base}: {label}"]

    def measures(self, key: str, base: str, labels: Mapping[str, str]) -> dict[str, float]:
        """Return one of the melody's measures by the names of labels."""
        return {name: self.of(base, label)["measures"][key] for name, label in labels.items()}

    def seeds(self, base: str, label: str) -> list[float]:
        """Return the score of each seed that was run."""
        names = [f"{base}: {label}{seed}" for seed in ("", " (seed 1)")]
        self.asked |= dict.fromkeys(names)
        return [self.rows[name]["measures"]["correlation"] for name in names if name in self.rows]

    def score(self, base: str, label: str = BASE) -> float:
        """Return the correlation of the melody's waveform, the mean of the seeds that were run."""
        return float(np.mean(self.seeds(base, label) or self.of(base, label)))  # without a seed, `of` raises

    def speed(self, base: str, label: str = BASE) -> float:
        """Return frames trained in a second."""
        return frames_per_second(self.of(base, label))

    def spread(self, base: str) -> float:
        """Return the largest share by which two seeds of one row differ, at least LEAST_SPREAD."""
        pairs = [self.seeds(base, label) for label in (BASE, *CLOSE[base])]
        return max([LEAST_SPREAD, *((max(pair) - min(pair)) / max(*pair, 1e-9) for pair in pairs if pair)])

    def better(self, base: str, one: str, other: str = BASE) -> bool:
        """Return whether the first label's score is above the second's by more than the spread."""
        return self.score(base, one) > self.score(base, other) * (1 + self.spread(base))

    def scores(self, base: str, labels: Mapping[str, str]) -> str:
        """Return a text: name and score of each label that this base has."""
        return listed({n: self.score(base, label) for n, label in labels.items() if has(base, label)}, "{} {:.2f}")

    def both(self, labels: Mapping[str, str]) -> str:
        """Return a text: the scores of labels on both bases."""
        return "; ".join(f"{base}: {self.scores(base, labels)} (spread {self.spread(base):.0%})" for base in BASES)
