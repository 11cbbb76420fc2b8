"""The judges of the claims: each reads the laboratory's results and returns a finding (notebook 07_claims).

A score is the correlation of the melody's waveform. Two scores differ if they do so by more than the spread, the
largest difference between two seeds of one row (at least 5 %). A judge asks for rows; a missing one raises KeyError.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np

from nnss_utils.laboratory.experiment import frames_per_second, learnt_hz
from nnss_utils.laboratory.grid import BASE, BASES, CLOSE, GROUPS, LOSSES, WINDOWS

CONFIRMED, PARTLY, REFUTED, OPEN = "confirmed", "partly", "refuted", "not decidable here"
LEAST_SPREAD = 0.05
DEEP = {"1 layer": "BLSTM x 1", "2": BASE, "3": "BLSTM x 3", "4": "BLSTM x 4"}
OTHERS = ("GRU x 2", "convolution over time", "convolution over the image", "transformer")
FRAME_LENGTHS = {n: f"frame_length {n}" if n != 2048 else BASE for n in (512, 1024, 2048, 4096, 8192)}


@dataclass(frozen=True)
class Finding:
    """A verdict, what was measured, and why."""

    verdict: str
    measured: str
    why: str = ""


def graded(conditions: Iterable[bool], measured: str, why: str = "") -> Finding:
    """Return a finding: confirmed if all conditions hold, partly if some do, else refuted."""
    held = [bool(condition) for condition in conditions]
    return Finding(CONFIRMED if all(held) else PARTLY if any(held) else REFUTED, measured, why)


class Results:
    """The laboratory's results by row, and what is read from them; a missing row raises KeyError."""

    def __init__(self, rows: Mapping[str, dict]) -> None:
        """Read from `rows`; `asked` lists those that were read."""
        self.rows = rows
        self.asked: list[str] = []

    def row(self, name: str) -> dict | None:
        """Return a row's result, None if it was not run."""
        if name not in self.asked:
            self.asked.append(name)
        return self.rows.get(name)

    def of(self, base: str, label: str = BASE) -> dict:
        """Return the result of a base with a label's change."""
        return self.row(f"{base}: {label}") or self.missing(base, label)

    def measure(self, key: str, base: str, label: str = BASE) -> float:
        """Return one of the melody's measures."""
        return self.of(base, label)["measures"][key]

    def seeds(self, base: str, label: str) -> list[float | None]:
        """Return the score of each seed, None where it was not run."""
        rows = [self.row(f"{base}: {label}{seed}") for seed in ("", " (seed 1)")]
        return [row and row["measures"]["correlation"] for row in rows]

    def score(self, base: str, label: str = BASE) -> float:
        """Return the correlation of the melody's waveform, the mean of the seeds that were run."""
        found = [score for score in self.seeds(base, label) if score is not None]
        return float(np.mean(found or self.missing(base, label)))

    def missing(self, base: str, label: str) -> NoReturn:
        """Raise KeyError: the row was not run."""
        raise KeyError(f"{base}: {label}")

    def spread(self, base: str) -> float:
        """Return the largest share by which two seeds of one row differ, at least LEAST_SPREAD."""
        pairs = [self.seeds(base, label) for label in (BASE, *CLOSE[base])]
        shares = [abs(a - b) / max(a, b, 1e-9) for a, b in pairs if a is not None and b is not None]
        return max([LEAST_SPREAD, *shares])

    def better(self, base: str, one: str, other: str = BASE) -> bool:
        """Return whether the first label's score is above the second's by more than the spread."""
        return self.score(base, one) > self.score(base, other) * (1 + self.spread(base))

    def speed(self, base: str, label: str = BASE) -> float:
        """Return frames trained in a second."""
        return frames_per_second(self.of(base, label))

    def scores(self, base: str, labels: Mapping[str, str]) -> str:
        """Return a text: name and score of each label that this base has."""
        return ", ".join(f"{n} {self.score(base, label):.2f}" for n, label in labels.items() if has(base, label))

    def both(self, labels: Mapping[str, str]) -> str:
        """Return a text: the scores of labels on both bases."""
        return "; ".join(f"{base}: {self.scores(base, labels)} (spread {self.spread(base):.0%})" for base in BASES)


def has(base: str, label: str) -> bool:
    """Return whether the claims' table has a label's row on a base."""
    return label == BASE or any(label in labels for labels in GROUPS[base].values())


def explained(result: dict, low: float, high: float) -> float:
    """Return the mean explained share of the variance from `low` to `high` Hz at a result's end."""
    edges = np.array(result["bin_edges"]) * result["bin_hz"]
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    inside = (middle >= low) & (middle < high)
    values = np.clip(result["snapshots"][-1]["melody"]["explained"], 0, 1)
    return float(np.average(values[inside], weights=width[inside]))


def depth(results: Results, facts: dict) -> Finding:
    """Claim 1: deeper networks are not better, and no other network is."""
    deeper = [(b, d) for b in BASES for d in ("BLSTM x 3", "BLSTM x 4") if results.better(b, d)]
    others = [(b, o) for b in BASES for o in (*OTHERS, "BLSTM x 1") if has(b, o) and results.better(b, o)]
    measured = results.both(DEEP | {name: name for name in OTHERS})
    names = ", ".join(f"{label} ({base})" for base, label in deeper + others)
    if not deeper and not others:
        return Finding(CONFIRMED, measured, "nothing is better by more than the spread")
    if not deeper:
        return Finding(PARTLY, measured, f"a third and a fourth layer don't help, but better than two layers: {names}")
    return Finding(REFUTED, measured, f"better in equal time: {names}")


def gru(results: Results, facts: dict) -> Finding:
    """Claim 2: GRU almost as good as LSTM."""
    ratios = {base: results.score(base, "GRU x 2") / results.score(base) for base in BASES}
    why = "of LSTM's score, GRU has " + ", ".join(f"{ratio:.0%} ({base})" for base, ratio in ratios.items())
    return graded((r > 0.9 for r in ratios.values()), results.both({"BLSTM": BASE, "GRU": "GRU x 2"}), why)


def convolution(results: Results, facts: dict) -> Finding:
    """Claim 3: convolutional networks are costly and slow to train."""
    texts, bad = [], []
    for base, over in (("partials", "over time"), ("partials", "over the image"), ("seed", "over time")):
        speed = results.speed(base, f"convolution {over}") / results.speed(base)
        ratio = results.score(base, f"convolution {over}") / results.score(base)
        texts.append(f"{base}, {over}: {speed:.2f} times BLSTM's frames a second, {ratio:.0%} of its score")
        bad.append(speed < 0.5 or ratio < 0.75)
    why = "2-D kernels cost most; kernels over time are cheap, and good where the codification has the partials"
    return graded(bad, "; ".join(texts), why if any(bad) else "")


def transformer(results: Results, facts: dict) -> Finding:
    """Claim 4: transformers give bad results."""
    bad = [results.score(base, "transformer") < 0.75 * results.score(base) for base in BASES]
    why = "bad where every phase must be computed from two sines, not where the codification has the partials"
    measured = results.both({"BLSTM": BASE, "transformer": "transformer"})
    return graded(bad, measured, why if any(bad) and not all(bad) else "")


def steps(results: Results, facts: dict) -> Finding:
    """Claim 5: the shorter frame_step, the better."""
    labels = {"1": BASE, "8": "frame_step 8", "64": "frame_step 64"}
    values = [results.score("seed", label) for label in labels.values()]
    measured = f"seed, by frame_step: {results.scores('seed', labels)}"
    falling = values[0] == max(values) and values[0] > 1.1 * values[-1]
    longer = results.scores("partials", {"64": BASE, "256": "frame_step 256"})
    why = f"with raw phase and two sines; with partials a longer step is enough: {longer}"
    return Finding(CONFIRMED if falling else REFUTED, measured, why)


def highs(results: Results, facts: dict) -> Finding:
    """Claim 6: with frame_step 1 the high frequencies are lost."""
    rows = {"1": BASE, "64": "frame_step 64"}
    parts = {s: [explained(results.of("seed", row), *b) for b in ((0, 1e3), (4e3, 16e3))] for s, row in rows.items()}
    measured = "; ".join(
        f"seed, step {s}: {a:.1%} below 1 kHz, {b:.1%} of 4-16 kHz explained" for s, (a, b) in parts.items()
    )
    lost = parts["1"][1] < 0.1 * parts["1"][0]
    why = "they are, but not because of the step: they are lost at every step until the carriers are given"
    return Finding(CONFIRMED if lost else REFUTED, measured, why if lost else "")


def lengths(results: Results, facts: dict) -> Finding:
    """Claim 7: the longer frame_length, the better, at the price of training time."""
    rising = sum(b > a for a, b in pairwise(results.score("partials", label) for label in FRAME_LENGTHS.values()))
    measured = f"partials, by frame_length: {results.scores('partials', FRAME_LENGTHS)}"
    speeds = (f"{results.speed('partials', FRAME_LENGTHS[n]):.0f} at {n}" for n in (512, 2048, 8192))
    why = f"frames trained a second: {', '.join(speeds)}"
    return Finding(CONFIRMED if rising == 4 else PARTLY if rising > 1 else REFUTED, measured, why)


def transients(results: Results, facts: dict) -> Finding:
    """Claim 8: transients are lost above 2048."""
    attack = {n: results.measure("attack_lsd_db", "partials", label) for n, label in FRAME_LENGTHS.items()}
    values = ", ".join(f"{n} {value:.1f} dB" for n, value in attack.items())
    why = "shorter frames are better still" if min(attack[512], attack[1024]) < attack[2048] else ""
    worse = (attack[n] > attack[2048] for n in (4096, 8192))
    return graded(worse, f"partials, attack LSD by frame_length: {values}", why)


def windows(results: Results, facts: dict) -> Finding:
    """Claim 9: Hann and Kaiser are the best windows."""
    labels = {"Hann": BASE, **{label.split()[1]: label for label in WINDOWS}}
    values = {name: results.score("seed", label) for name, label in labels.items()}
    measured = f"seed: {results.scores('seed', labels)} (spread {results.spread('seed'):.0%})"
    best = [name for name, value in values.items() if value * (1 + results.spread("seed")) > max(values.values())]
    if len(best) == len(values):
        return Finding(OPEN, measured, "the windows differ by less than two seeds do")
    return graded((n in best for n in ("Hann", "kaiser")), measured, f"the best, within the spread: {', '.join(best)}")


def loss(results: Results, facts: dict) -> Finding:
    """Claim 10: mean squared error is the best loss, multi-scale spectral loss bad."""
    labels = {"MSE": BASE, **{label.split()[1]: label for label in LOSSES}}
    lsd = {name: results.measure("attack_lsd_db", "partials", label) for name, label in labels.items()}
    values = ", ".join(f"{name} {value:.1f}" for name, value in lsd.items())
    measured = f"{results.both(labels)}; partials, attack LSD, dB: {values}"
    no_waveform = all(results.score(base, "loss multi_scale") < 0.5 * results.score(base) for base in BASES)
    best = not any(results.better(base, label) for base in BASES for label in LOSSES)
    magnitudes = lsd["multi_scale"] < 0.8 * lsd["MSE"]
    why = "multi-scale loss ignores phase and learns no waveform" if no_waveform else ""
    why += ", yet the best magnitudes" if no_waveform and magnitudes else ""
    if best and no_waveform and not magnitudes:
        return Finding(CONFIRMED, measured, why)
    return Finding(PARTLY if best or no_waveform else REFUTED, measured, why)


def powers(results: Results, facts: dict) -> Finding:
    """Claim 11: powers 1/2, 1/4 and 1/8 are excellent."""
    labels = {"1": "power 1", "1/2": BASE, "1/4": "power 1/4", "1/8": "power 1/8"}
    spectral = {name: results.measure("multi_scale_loss", "partials", label) for name, label in labels.items()}
    losses = ", ".join(f"{name} {value:.1f}" for name, value in spectral.items())
    measured = f"partials, correlation: {results.scores('partials', labels)}; multi-scale spectral loss: {losses}"
    audible = all(spectral[name] < spectral["1"] for name in ("1/2", "1/4", "1/8"))
    waveform = not any(results.better("partials", "power 1", label) for label in labels.values())
    why = "a lower power weighs the quiet bins, a higher one learns the waveform sooner"
    return graded((audible, waveform), measured, why)


def small_powers(results: Results, facts: dict) -> Finding:
    """Claim 12: at 1/32 and lower, small errors are too loud."""
    labels = {name: f"power {name}" for name in ("1/8", "1/16", "1/32")}
    snr = {name: results.measure("snr_db", "partials", label) for name, label in labels.items()}
    values = ", ".join(f"{name} {value:.1f} dB" for name, value in snr.items())
    measured = f"partials, SNR: {values}; correlation: {results.scores('partials', labels)}"
    falling = snr["1/32"] < snr["1/16"] < snr["1/8"]
    worse = results.score("partials", "power 1/32") < 0.8 * results.score("partials", "power 1/8")
    return graded((falling, worse), measured, "denormalizing multiplies a bin's relative error by 32 and more")


def logarithm(results: Results, facts: dict) -> Finding:
    """Claim 13: logarithmic normalization gives much noise."""
    rows = {name: results.of("partials", name)["measures"] for name in ("logarithm", "power 1/8")}
    measured = "; ".join(
        f"partials, {name}: correlation {m['correlation']:.2f}, SNR {m['snr_db']:.1f} dB, sustain LSD "
        f"{m['sustain_lsd_db']:.1f} dB" for name, m in rows.items()
    )  # fmt: skip
    noisy = rows["logarithm"]["sustain_lsd_db"] > 1.2 * rows["power 1/8"]["sustain_lsd_db"]
    why = "for log(1 + x), x over -100 dB, straight below that; a logarithm without such a floor was not tried"
    return Finding(CONFIRMED if noisy else REFUTED, measured, why)


def phases(results: Results, facts: dict) -> Finding:
    """Claim 14: phases of low bins are coherent, after bin 200 they alias."""
    raw, demodulated = facts["change"]["raw"], facts["change"]["heterodyned"]
    pairs = [f"{a:.2f} / {b:.4f}" for a, b in zip(raw, demodulated, strict=True)]
    measured = (
        f"change a frame at step 1, raw / heterodyned: bins 50-100 {pairs[0]}, 200-400 {pairs[1]}, 400-800 {pairs[2]}"
    )
    why = "it is the bin's own carrier, 2 pi k / 2048 a frame, which heterodyning removes (02_phase_analysis)"
    return Finding(CONFIRMED if raw[0] < 0.2 < raw[1] else REFUTED, measured, why)


def oversampling(results: Results, facts: dict) -> Finding:
    """Claim 15: oversampling by 4 gives a bandwidth up to 6 kHz."""
    rows = {"1": BASE, "2": "oversampling 2", "4": "oversampling 4"}
    learnt = {
        n: (learnt_hz(r), explained(r, 1e3, 6e3)) for n, r in ((n, results.of("seed", w)) for n, w in rows.items())
    }
    measured = "; ".join(
        f"seed, factor {n}: {hz:.0f} Hz learnt, {share:.1%} of 1-6 kHz explained" for n, (hz, share) in learnt.items()
    )
    why = "two minutes on one core reach no 6 kHz at any factor; a factor acts as a shorter step (04_oversampling)"
    return Finding(PARTLY if learnt["4"][1] > 1.2 * learnt["1"][1] else OPEN, measured, why)


def overfitting(results: Results, facts: dict) -> Finding:
    """Claim 16: loss curves of training and test fall together."""
    parts, falling = [], []
    for row in (*((base, BASE) for base in BASES), ("masks", "mask_keyed")):
        curve = [(shot["training"]["loss"], shot["melody"]["loss"]) for shot in results.of(*row)["snapshots"]]
        train, melody = curve[-1]
        least = min(value for _, value in curve)
        falling.append(melody <= 1.05 * least)
        parts.append(f"{row[0]}: training {train:.3f}, melody {melody:.3f}, its least {least:.3f}")
    why = "the melody's loss ends at its least" if all(falling) else "the melody's loss rises again somewhere"
    return graded(falling, "; ".join(parts), why)


def low_first(results: Results, facts: dict) -> Finding:
    """Claim 17: low bins are learnt first and fast, each bin above takes far longer."""
    row, mask = results.of("seed"), results.of("masks", "mask_keyed")
    bands = {"<500 Hz": (0, 500), "<1k": (500, 1e3), "<2k": (1e3, 2e3), "<4k": (2e3, 4e3), "<8k": (4e3, 8e3)}
    parts = [explained(row, *band) for band in bands.values()]
    values = ", ".join(f"{name} {part:.1%}" for name, part in zip(bands, parts, strict=True))
    half, end = (learnt_hz(row, at) for at in (len(row["snapshots"]) - 3, -1))
    measured = f"seed, explained at the end: {values}; learnt {half:.0f} Hz at half the time, {end:.0f} at its end; "
    measured += f"mask_keyed {learnt_hz(mask):.0f} Hz"
    falling = parts[0] > parts[2] > parts[4]
    why = "of the direct method; a mask network learns all bins at once" if falling else ""
    return Finding(CONFIRMED if falling else REFUTED, measured, why)


def two_sines(results: Results, facts: dict) -> Finding:
    """Claim 18: two sines a note, without velocity, suffice as codification."""
    scores = results.score("seed"), results.score("partials")
    measured = f"correlation in equal time: two sines {scores[0]:.2f}, every partial {scores[1]:.2f}"
    measured += f", with masks {results.score('masks', 'mask_keyed'):.3f}"
    why = "they describe a score of one velocity fully, but every partial's phase must be computed from them"
    if scores[0] >= scores[1]:
        return Finding(CONFIRMED, measured, why)
    why = f"the network learns from them, but far less: {why}"
    return Finding(PARTLY if scores[0] > 0.2 else REFUTED, measured, why)


def griffin_lim(results: Results, facts: dict) -> Finding:
    """Claim 19: the method avoids Griffin-Lim's naive phase reconstruction."""
    theirs, ours = facts["griffin_lim"], results.of("seed")["measures"]
    mask = results.of("masks", "mask_keyed")["measures"]
    measured = (
        f"waveform correlation: Griffin-Lim on the true magnitudes {theirs['correlation']:.2f}, seed "
        f"{ours['correlation']:.2f}, mask_keyed {mask['correlation']:.3f}; attack LSD {theirs['attack_lsd_db']:.1f}, "
        f"{ours['attack_lsd_db']:.1f}, {mask['attack_lsd_db']:.1f} dB"
    )
    good = ours["correlation"] > theirs["correlation"]
    why = "phases are predicted; the seed's magnitudes are far worse than true ones" if good else ""
    return Finding(CONFIRMED if good else REFUTED, measured, why)


def hopes(results: Results, facts: dict) -> Finding:
    """Claim 20: the whole band, transients, complex-valued networks."""
    m, theirs = results.of("masks", "mask_keyed")["measures"], facts["griffin_lim"]
    measured = (
        f"mask_keyed, five keys: bandwidth {m['bandwidth_hz'] / 1000:.1f} kHz, attack LSD {m['attack_lsd_db']:.1f} dB "
        f"(Griffin-Lim {theirs['attack_lsd_db']:.1f})"
    )
    why = "masks reach the band and the transients; complex-valued recurrent layers have not been built here"
    return Finding(PARTLY if m["attack_lsd_db"] < theirs["attack_lsd_db"] else OPEN, measured, why)
