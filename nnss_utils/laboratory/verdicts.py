"""The judges of the claims: each reads the laboratory's results and says what follows (notebook 07_claims).

Scores are the correlation of the melody's waveform unless said; two scores differ if they do so by more than the
spread, the largest difference between two seeds of one row (at least 5 %). A judge asks for rows; one that was not
run raises KeyError.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np

from nnss_utils.laboratory.experiment import frames_per_second, learnt_hz
from nnss_utils.laboratory.grid import BASE, BASES, CLOSE, GROUPS, LOSSES, WINDOWS

CONFIRMED, PARTLY, REFUTED, OPEN = "confirmed", "partly", "refuted", "not decidable here"
LEAST_SPREAD = 0.05


class Results:
    """The laboratory's results by row, and what is read from them; a row that was not run raises KeyError."""

    def __init__(self, rows: Mapping[str, dict]) -> None:
        """Read from `rows`; `asked` lists those that were read."""
        self.rows = rows
        self.asked: list[str] = []

    def row(self, name: str) -> dict | None:
        """Return a row's result, None if it was not run."""
        if name not in self.asked:
            self.asked.append(name)
        return self.rows.get(name)

    def of(self, base: str, label: str = "as is") -> dict:
        """Return the result of a base with a label's change."""
        return self.row(f"{base}: {label}") or self.missing(base, label)

    def measure(self, key: str, base: str, label: str = "as is") -> float:
        """Return one of the melody's measures."""
        return self.of(base, label)["measures"][key]

    def score(self, base: str, label: str = "as is") -> float:
        """Return the correlation of the melody's waveform, the mean of the seeds that were run."""
        found = [self.row(f"{base}: {label}{seed}") for seed in ("", " (seed 1)")]
        return float(np.mean([row["measures"]["correlation"] for row in found if row] or self.missing(base, label)))

    def missing(self, base: str, label: str) -> NoReturn:
        """Raise KeyError: the row was not run."""
        raise KeyError(f"{base}: {label}")

    def spread(self, base: str) -> float:
        """Return the largest part by which two seeds of one row differ, at least LEAST_SPREAD."""
        parts = [LEAST_SPREAD]
        for label in (BASE, *CLOSE[base]):
            rows = [self.row(f"{base}: {label}{seed}") for seed in ("", " (seed 1)")]
            if all(rows):
                a, b = (row["measures"]["correlation"] for row in rows)
                parts.append(abs(a - b) / max(a, b, 1e-9))
        return max(parts)

    def better(self, base: str, one: str, other: str) -> bool:
        """Return whether the first label's score is above the second's by more than the spread."""
        return self.score(base, one) > self.score(base, other) * (1 + self.spread(base))

    def speed(self, base: str, label: str = "as is") -> float:
        """Return frames trained a second."""
        return frames_per_second(self.of(base, label))

    def scores(self, base: str, labels: Mapping[str, str]) -> str:
        """Return scores in words: name and score of each label that this base has."""
        return ", ".join(f"{n} {self.score(base, label):.2f}" for n, label in labels.items() if has(base, label))


def has(base: str, label: str) -> bool:
    """Return whether the claims' table has a label's row on a base."""
    return label == BASE or any(label in labels for labels in GROUPS[base].values())


@dataclass(frozen=True)
class Finding:
    """A verdict, what was measured, and why."""

    verdict: str
    measured: str
    why: str = ""


DEEP = {"1 layer": "BLSTM x 1", "2": "as is", "3": "BLSTM x 3", "4": "BLSTM x 4"}
OTHERS = ("GRU x 2", "convolution over time", "convolution over the image", "transformer")


def both(results: Results, labels: Mapping[str, str]) -> str:
    """Return scores of labels on both bases in words."""
    return "; ".join(f"{base}: {results.scores(base, labels)} (spread {results.spread(base):.0%})" for base in BASES)


def depth(results: Results, measured: dict) -> Finding:
    """Claim 1: deeper is no better, and no other network is."""
    deeper = [(b, d) for b in BASES for d in ("BLSTM x 3", "BLSTM x 4") if results.better(b, d, "as is")]
    others = [(b, o) for b in BASES for o in OTHERS if has(b, o) and results.better(b, o, "as is")]
    others += [(b, "BLSTM x 1") for b in BASES if results.better(b, "BLSTM x 1", "as is")]
    said = both(results, DEEP | {name: name for name in OTHERS})
    names = ", ".join(f"{label} ({base})" for base, label in deeper + others)
    if not deeper and not others:
        return Finding(CONFIRMED, said, "nothing is better by more than the spread")
    if not deeper:
        return Finding(PARTLY, said, f"a third and a fourth layer don't help, but better than two layers: {names}")
    return Finding(REFUTED, said, f"better in equal time: {names}")


def gru(results: Results, measured: dict) -> Finding:
    """Claim 2: GRU almost as good as LSTM."""
    ratios = {base: results.score(base, "GRU x 2") / results.score(base) for base in BASES}
    said = both(results, {"BLSTM": "as is", "GRU": "GRU x 2"})
    good = [ratio > 0.9 for ratio in ratios.values()]
    why = "of LSTM's score, GRU has " + ", ".join(f"{ratio:.0%} ({base})" for base, ratio in ratios.items())
    return Finding(CONFIRMED if all(good) else PARTLY if any(good) else REFUTED, said, why)


def convolution(results: Results, measured: dict) -> Finding:
    """Claim 3: convolutional networks are costly and slow to train."""
    rows = [("partials", "over time"), ("partials", "over the image"), ("seed", "over time")]
    speed = {row: results.speed(row[0], f"convolution {row[1]}") / results.speed(row[0]) for row in rows}
    ratio = {row: results.score(row[0], f"convolution {row[1]}") / results.score(row[0]) for row in rows}
    said = "; ".join(
        f"{row[0]}, {row[1]}: {speed[row]:.2f} times BLSTM's frames a second, {ratio[row]:.0%} of its score"
        for row in rows
    )
    bad = [speed[row] < 0.5 or ratio[row] < 0.75 for row in rows]
    why = "2-D kernels cost most; kernels over time are cheap, and good where the codification has the partials"
    return Finding(CONFIRMED if all(bad) else PARTLY if any(bad) else REFUTED, said, why if any(bad) else "")


def transformer(results: Results, measured: dict) -> Finding:
    """Claim 4: transformers give bad results."""
    ratios = [results.score(base, "transformer") / results.score(base) for base in BASES]
    said = both(results, {"BLSTM": "as is", "transformer": "transformer"})
    bad = [ratio < 0.75 for ratio in ratios]
    why = "bad where every phase must be computed from two sines, not where the codification has the partials"
    return Finding(
        CONFIRMED if all(bad) else PARTLY if any(bad) else REFUTED, said, why if any(bad) and not all(bad) else ""
    )


def steps(results: Results, measured: dict) -> Finding:
    """Claim 5: the shorter frame_step, the better."""
    labels = {"1": "as is", "8": "frame_step 8", "64": "frame_step 64"}
    values = [results.score("seed", label) for label in labels.values()]
    said = f"seed, by frame_step: {results.scores('seed', labels)}"
    falling = values[0] == max(values) and values[0] > 1.1 * values[-1]
    turned = results.scores("partials", {"64": "as is", "256": "frame_step 256"})
    why = f"with raw phase and two sines; with partials a longer step does: {turned}"
    return Finding(CONFIRMED if falling else REFUTED, said, why)


def explained(result: dict, low: float, high: float) -> float:
    """Return the mean part of the variance explained from `low` to `high` Hz at a result's end."""
    edges = np.array(result["bin_edges"]) * result["bin_hz"]
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    inside = (middle >= low) & (middle < high)
    values = np.clip(result["snapshots"][-1]["melody"]["explained"], 0, 1)
    return float(np.average(values[inside], weights=width[inside]))


def highs(results: Results, measured: dict) -> Finding:
    """Claim 6: with frame_step 1 the high frequencies are lost."""
    rows = {"1": "as is", "64": "frame_step 64"}
    parts = {s: [explained(results.of("seed", row), *b) for b in ((0, 1e3), (4e3, 16e3))] for s, row in rows.items()}
    said = "; ".join(
        f"seed, step {s}: {a:.1%} below 1 kHz, {b:.1%} of 4-16 kHz explained" for s, (a, b) in parts.items()
    )
    lost = parts["1"][1] < 0.1 * parts["1"][0]
    why = "they are, but not because of the step: they are lost at every step until the carriers are given"
    return Finding(CONFIRMED if lost else REFUTED, said, why if lost else "")


def lengths(results: Results, measured: dict) -> Finding:
    """Claim 7: the longer frame_length, the better, at the price of training time."""
    labels = {str(n): f"frame_length {n}" if n != 2048 else "as is" for n in (512, 1024, 2048, 4096, 8192)}
    values = [results.score("partials", label) for label in labels.values()]
    speed = [results.speed("partials", label) for label in labels.values()]
    said = f"partials, by frame_length: {results.scores('partials', labels)}"
    why = f"frames trained a second: {speed[0]:.0f} at 512, {speed[2]:.0f} at 2048, {speed[-1]:.0f} at 8192"
    rising = sum(b > a for a, b in pairwise(values))
    return Finding(CONFIRMED if rising == 4 else PARTLY if rising > 1 else REFUTED, said, why)


def transients(results: Results, measured: dict) -> Finding:
    """Claim 8: transients are lost above 2048."""
    labels = {n: f"frame_length {n}" if n != 2048 else "as is" for n in (512, 1024, 2048, 4096, 8192)}
    attack = {n: results.measure("attack_lsd_db", "partials", label) for n, label in labels.items()}
    said = "partials, attack LSD by frame_length: " + ", ".join(f"{n} {value:.1f} dB" for n, value in attack.items())
    worse = [attack[n] > attack[2048] for n in (4096, 8192)]
    why = "shorter frames are better still" if min(attack[512], attack[1024]) < attack[2048] else ""
    return Finding(CONFIRMED if all(worse) else PARTLY if any(worse) else REFUTED, said, why)


def windows(results: Results, measured: dict) -> Finding:
    """Claim 9: Hann and Kaiser are the best windows."""
    labels = {"Hann": "as is", **{label.split()[1]: label for label in WINDOWS}}
    values = {name: results.score("seed", label) for name, label in labels.items()}
    said = f"seed: {results.scores('seed', labels)} (spread {results.spread('seed'):.0%})"
    best = [name for name, value in values.items() if value * (1 + results.spread("seed")) > max(values.values())]
    if len(best) == len(values):
        return Finding(OPEN, said, "the windows differ by less than two seeds do")
    among = [name in best for name in ("Hann", "kaiser")]
    why = f"the best, within the spread: {', '.join(best)}"
    return Finding(CONFIRMED if all(among) else PARTLY if any(among) else REFUTED, said, why)


def loss(results: Results, measured: dict) -> Finding:
    """Claim 10: mean squared error is the best loss, multi-scale spectral loss bad."""
    labels = {"MSE": "as is", **{label.split()[1]: label for label in LOSSES}}
    lsd = {name: results.measure("attack_lsd_db", "partials", label) for name, label in labels.items()}
    said = f"{both(results, labels)}; partials, attack LSD, dB: "
    said += ", ".join(f"{name} {value:.1f}" for name, value in lsd.items())
    no_waveform = all(results.score(base, "loss multi_scale") < 0.5 * results.score(base) for base in BASES)
    best = not any(results.better(base, label, "as is") for base in BASES for label in LOSSES)
    magnitudes = lsd["multi_scale"] < 0.8 * lsd["MSE"]
    why = "multi-scale loss hears no phase and learns no waveform" if no_waveform else ""
    why += ", yet the best magnitudes" if no_waveform and magnitudes else ""
    if best and no_waveform and not magnitudes:
        return Finding(CONFIRMED, said, why)
    return Finding(PARTLY if best or no_waveform else REFUTED, said, why)


def powers(results: Results, measured: dict) -> Finding:
    """Claim 11: powers 1/2, 1/4 and 1/8 are excellent."""
    labels = {"1": "power 1", "1/2": "as is", "1/4": "power 1/4", "1/8": "power 1/8"}
    spectral = {name: results.measure("multi_scale_loss", "partials", label) for name, label in labels.items()}
    losses = ", ".join(f"{name} {value:.1f}" for name, value in spectral.items())
    said = f"partials, correlation: {results.scores('partials', labels)}; multi-scale spectral loss: {losses}"
    heard = all(spectral[name] < spectral["1"] for name in ("1/2", "1/4", "1/8"))
    waveform = not any(results.better("partials", "power 1", label) for label in labels.values())
    why = "a lower power hears the quiet bins, a higher one learns the waveform sooner"
    return Finding(CONFIRMED if heard and waveform else PARTLY if heard or waveform else REFUTED, said, why)


def small_powers(results: Results, measured: dict) -> Finding:
    """Claim 12: at 1/32 and lower, small errors are too loud."""
    labels = {name: f"power {name}" for name in ("1/8", "1/16", "1/32")}
    snr = {name: results.measure("snr_db", "partials", label) for name, label in labels.items()}
    values = ", ".join(f"{name} {value:.1f} dB" for name, value in snr.items())
    said = f"partials, SNR: {values}; correlation: {results.scores('partials', labels)}"
    falling = snr["1/32"] < snr["1/16"] < snr["1/8"]
    worse = results.score("partials", "power 1/32") < 0.8 * results.score("partials", "power 1/8")
    why = "denormalizing multiplies a bin's relative error by 32 and more"
    return Finding(CONFIRMED if falling and worse else PARTLY if falling or worse else REFUTED, said, why)


def logarithm(results: Results, measured: dict) -> Finding:
    """Claim 13: logarithmic normalization gives much noise."""
    rows = {name: results.of("partials", name)["measures"] for name in ("logarithm", "power 1/8")}
    said = "; ".join(
        f"partials, {name}: correlation {m['correlation']:.2f}, SNR {m['snr_db']:.1f} dB, sustain LSD "
        f"{m['sustain_lsd_db']:.1f} dB" for name, m in rows.items()
    )  # fmt: skip
    noisy = rows["logarithm"]["sustain_lsd_db"] > 1.2 * rows["power 1/8"]["sustain_lsd_db"]
    why = "for log(1 + x), x over -100 dB, straight below that; a logarithm without such a floor was not tried"
    return Finding(CONFIRMED if noisy else REFUTED, said, why)


def phases(results: Results, measured: dict) -> Finding:
    """Claim 14: phases of low bins are coherent, after bin 200 they alias."""
    change = measured["change"]
    pairs = [f"{raw:.2f} / {turned:.4f}" for raw, turned in zip(change["raw"], change["heterodyned"], strict=True)]
    said = (
        f"change a frame at step 1, raw / heterodyned: bins 50-100 {pairs[0]}, 200-400 {pairs[1]}, 400-800 {pairs[2]}"
    )
    seen = change["raw"][0] < 0.2 < change["raw"][1]
    why = "it is the bin's own carrier, 2 pi k / 2048 a frame, which heterodyning takes away (02_phase_analysis)"
    return Finding(CONFIRMED if seen else REFUTED, said, why)


def oversampling(results: Results, measured: dict) -> Finding:
    """Claim 15: oversampling by 4 gives a bandwidth up to 6 kHz."""
    rows = {"1": "as is", "2": "oversampling 2", "4": "oversampling 4"}
    learnt = {
        name: [learnt_hz(results.of("seed", row)), explained(results.of("seed", row), 1e3, 6e3)]
        for name, row in rows.items()
    }
    said = "; ".join(
        f"seed, factor {n}: {hz:.0f} Hz learnt, {part:.1%} of 1-6 kHz explained" for n, (hz, part) in learnt.items()
    )
    helps = learnt["4"][1] > 1.2 * learnt["1"][1]
    why = "two minutes on one core reach no 6 kHz at any factor; what a factor does is a shorter step (04_oversampling)"
    return Finding(PARTLY if helps else OPEN, said, why)


def overfitting(results: Results, measured: dict) -> Finding:
    """Claim 16: loss curves of training and test fall alike."""
    parts, rising = [], []
    for row in (*((base, BASE) for base in BASES), ("masks", "mask_keyed")):
        curve = [(look["training"]["loss"], look["melody"]["loss"]) for look in results.of(*row)["snapshots"]]
        train, melody = curve[-1]
        least = min(value for _, value in curve)
        rising.append(melody > 1.05 * least)
        parts.append(f"{row[0]}: training {train:.3f}, melody {melody:.3f}, its least {least:.3f}")
    why = "the melody's loss ends at its least" if not any(rising) else "the melody's loss has turned somewhere"
    return Finding(CONFIRMED if not any(rising) else PARTLY if not all(rising) else REFUTED, "; ".join(parts), why)


def low_first(results: Results, measured: dict) -> Finding:
    """Claim 17: low bins are learnt first and fast, each bin above takes far longer."""
    row = results.of("seed")
    parts = [explained(row, low, high) for low, high in ((0, 500), (500, 1e3), (1e3, 2e3), (2e3, 4e3), (4e3, 8e3))]
    said = "seed, explained at the end: " + ", ".join(
        f"{name} {part:.1%}" for name, part in zip(("<500 Hz", "<1k", "<2k", "<4k", "<8k"), parts, strict=True)
    )
    half, end = (learnt_hz(row, at) for at in (len(row["snapshots"]) - 3, -1))
    mask = results.of("masks", "mask_keyed")
    said += f"; learnt {half:.0f} Hz at half the time, {end:.0f} at its end; mask_keyed {learnt_hz(mask):.0f} Hz"
    falling = parts[0] > parts[2] > parts[4]
    why = "of the direct method; a mask network learns all bins at once" if falling else ""
    return Finding(CONFIRMED if falling else REFUTED, said, why)


def two_sines(results: Results, measured: dict) -> Finding:
    """Claim 18: two sines a note, without velocity, suffice as codification."""
    scores = results.score("seed"), results.score("partials")
    said = f"correlation in equal time: two sines {scores[0]:.2f}, every partial {scores[1]:.2f}"
    said += f", with masks {results.score('masks', 'mask_keyed'):.3f}"
    why = "they say all that a score of one velocity says, but every partial's phase must be computed from them"
    if scores[0] >= scores[1]:
        return Finding(CONFIRMED, said, why)
    return Finding(PARTLY if scores[0] > 0.2 else REFUTED, said, f"the network learns from them, but far less: {why}")


def griffin_lim(results: Results, measured: dict) -> Finding:
    """Claim 19: the method avoids Griffin-Lim's naive phase reconstruction."""
    theirs = measured["griffin_lim"]
    ours = results.of("seed")["measures"]
    mask = results.of("masks", "mask_keyed")["measures"]
    said = f"waveform correlation: Griffin-Lim on the true magnitudes {theirs['correlation']:.2f}, seed "
    said += (
        f"{ours['correlation']:.2f}, mask_keyed {mask['correlation']:.3f}; attack LSD {theirs['attack_lsd_db']:.1f}, "
    )
    said += f"{ours['attack_lsd_db']:.1f}, {mask['attack_lsd_db']:.1f} dB"
    good = ours["correlation"] > theirs["correlation"]
    why = "phases are predicted; the seed's magnitudes are far worse than true ones" if good else ""
    return Finding(CONFIRMED if good else REFUTED, said, why)


def hopes(results: Results, measured: dict) -> Finding:
    """Claim 20: the whole band, transients, complex-valued networks."""
    m, theirs = results.of("masks", "mask_keyed")["measures"], measured["griffin_lim"]
    said = (
        f"mask_keyed, five keys: bandwidth {m['bandwidth_hz'] / 1000:.1f} kHz, attack LSD {m['attack_lsd_db']:.1f} dB "
    )
    said += f"(Griffin-Lim {theirs['attack_lsd_db']:.1f})"
    why = "band and transients are within reach of masks; complex-valued recurrent layers have not been built here"
    return Finding(PARTLY if m["attack_lsd_db"] < theirs["attack_lsd_db"] else OPEN, said, why)
