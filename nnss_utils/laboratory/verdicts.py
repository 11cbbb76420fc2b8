"""The claims of the method's author, each with the judge that decides it (notebook 07_claims): a method that reads the
laboratory's results, by evidence.py, and returns a finding."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from nnss_utils.laboratory.evidence import Evidence, has, listed
from nnss_utils.laboratory.experiment import explained, learnt_hz
from nnss_utils.laboratory.grid import BASE, BASES, LOSSES, WINDOWS

CONFIRMED, PARTLY, REFUTED, OPEN = "confirmed", "partly", "refuted", "not decidable here"
EQUAL = "equal time, one core, five keys"
DEEP = {"1 layer": "BLSTM x 1", "2": BASE, "3": "BLSTM x 3", "4": "BLSTM x 4"}
OTHERS = ("GRU x 2", "convolution over time", "convolution over the image", "transformer")
FRAME_LENGTHS = {n: f"frame_length {n}" if n != 2048 else BASE for n in (512, 1024, 2048, 4096, 8192)}


@dataclass(frozen=True)
class Finding:
    """A verdict, what was measured, and why."""

    verdict: str
    measured: str
    why: str = ""


# in the author's order: claim in our words, setting, whether longer training could decide it, judge
CLAIMS: list[tuple[str, str, bool, Callable[["Judges"], Finding]]] = []


def claim(text: str, setting: str = EQUAL, *, longer: bool = False) -> Callable[[Callable], Callable]:
    """Return a decorator that adds a judge of one more claim to CLAIMS."""

    def add(judge: Callable) -> Callable:
        CLAIMS.append((text, setting, longer, judge))
        return judge

    return add


def graded(conditions: Iterable[bool], measured: str, why: str = "") -> Finding:
    """Return a finding: confirmed if all conditions hold, partly if some do, else refuted."""
    held = [bool(condition) for condition in conditions]
    return Finding(CONFIRMED if all(held) else PARTLY if any(held) else REFUTED, measured, why)


class Judges(Evidence):
    """A judge of each claim."""

    @claim("A double bidirectional LSTM is the best model; a third and a fourth layer don't improve it", longer=True)
    def depth(self) -> Finding:
        deeper, others = (
            [f"{label} ({base})" for base in BASES for label in labels if has(base, label) and self.better(base, label)]
            for labels in (("BLSTM x 3", "BLSTM x 4"), (*OTHERS, "BLSTM x 1"))
        )
        measured, names = self.both(DEEP | {name: name for name in OTHERS}), ", ".join(deeper + others)
        if deeper:
            return Finding(REFUTED, measured, f"better in equal time: {names}")
        if others:
            why = f"a third and a fourth layer don't help, but better than two layers: {names}"
            return Finding(PARTLY, measured, why)
        return Finding(CONFIRMED, measured, "nothing is better by more than the spread")

    @claim("GRU is almost as good as LSTM", longer=True)
    def gru(self) -> Finding:
        ratios = {base: self.score(base, "GRU x 2") / self.score(base) for base in BASES}
        why = f"of LSTM's score, GRU has {listed(ratios, '{1:.0%} ({0})')}"
        return graded((r > 0.9 for r in ratios.values()), self.both({"BLSTM": BASE, "GRU": "GRU x 2"}), why)

    @claim("Convolutional networks are costly and slow to train")
    def convolution(self) -> Finding:
        ratios = {
            f"{base}, {over}": [of(base, f"convolution {over}") / of(base) for of in (self.speed, self.score)]
            for base, over in (("partials", "over time"), ("partials", "over the image"), ("seed", "over time"))
        }
        cell = "{0}: {1[0]:.2f} times BLSTM's frames a second, {1[1]:.0%} of its score"
        bad = [speed < 0.5 or score < 0.75 for speed, score in ratios.values()]
        why = "2-D kernels cost most; kernels over time are cheap, and good where the codification has the partials"
        return graded(bad, listed(ratios, cell, "; "), why if any(bad) else "")

    @claim("Transformers give bad results", longer=True)
    def transformer(self) -> Finding:
        bad = [self.score(base, "transformer") < 0.75 * self.score(base) for base in BASES]
        why = "bad where every phase must be computed from two sines, not where the codification has the partials"
        measured = self.both({"BLSTM": BASE, "transformer": "transformer"})
        return graded(bad, measured, why if any(bad) and not all(bad) else "")

    @claim("The shorter frame_step, the better; 1 is best")
    def steps(self) -> Finding:
        labels = {"1": BASE, "8": "frame_step 8", "64": "frame_step 64"}
        values = [self.score("seed", label) for label in labels.values()]
        falling = values[0] == max(values) and values[0] > 1.1 * values[-1]
        longer = self.scores("partials", {"64": BASE, "256": "frame_step 256"})
        why = f"with raw phase and two sines; with partials a longer step is enough: {longer}"
        return graded([falling], f"seed, by frame_step: {self.scores('seed', labels)}", why)

    @claim("With frame_step 1 the high frequencies are lost", longer=True)
    def highs(self) -> Finding:
        rows = {"1": self.of("seed"), "64": self.of("seed", "frame_step 64")}
        parts = {step: [explained(row, *band) for band in ((0, 1e3), (4e3, 16e3))] for step, row in rows.items()}
        cell = "seed, step {0}: {1[0]:.1%} below 1 kHz, {1[1]:.1%} of 4-16 kHz explained"
        lost = parts["1"][1] < 0.1 * parts["1"][0]
        why = "they are, but not because of the step: they are lost at every step until the carriers are given"
        return graded([lost], listed(parts, cell, "; "), why if lost else "")

    @claim("The longer frame_length, the better, at the price of training time")
    def lengths(self) -> Finding:
        rising = [b > a for a, b in pairwise(self.score("partials", label) for label in FRAME_LENGTHS.values())]
        measured = f"partials, by frame_length: {self.scores('partials', FRAME_LENGTHS)}"
        speeds = {n: self.speed("partials", FRAME_LENGTHS[n]) for n in (512, 2048, 8192)}
        verdict = CONFIRMED if all(rising) else PARTLY if sum(rising) > 1 else REFUTED
        return Finding(verdict, measured, f"frames trained a second: {listed(speeds, '{1:.0f} at {0}')}")

    @claim("Transients are lost above 2048; 2048 is best", EQUAL + ", attack LSD")
    def transients(self) -> Finding:
        attack = self.measures("attack_lsd_db", "partials", FRAME_LENGTHS)
        measured = f"partials, attack LSD by frame_length: {listed(attack, '{} {:.1f} dB')}"
        why = "shorter frames are better still" if min(attack[512], attack[1024]) < attack[2048] else ""
        return graded((attack[n] > attack[2048] for n in (4096, 8192)), measured, why)

    @claim("Hann and Kaiser are the best windows", longer=True)
    def windows(self) -> Finding:
        labels = {"Hann": BASE, **{label.split()[1]: label for label in WINDOWS}}
        values = {name: self.score("seed", label) for name, label in labels.items()}
        spread = self.spread("seed")
        measured = f"seed: {self.scores('seed', labels)} (spread {spread:.0%})"
        best = [name for name, value in values.items() if value * (1 + spread) > max(values.values())]
        if len(best) == len(values):
            return Finding(OPEN, measured, "the windows differ by less than two seeds do")
        why = f"the best, within the spread: {', '.join(best)}"
        return graded((name in best for name in ("Hann", "kaiser")), measured, why)

    @claim("Mean squared error is the best loss; multi-scale spectral loss gives bad results")
    def loss(self) -> Finding:
        labels = {"MSE": BASE, **{label.split()[1]: label for label in LOSSES}}
        lsd = self.measures("attack_lsd_db", "partials", labels)
        measured = f"{self.both(labels)}; partials, attack LSD, dB: {listed(lsd)}"
        no_waveform = all(self.score(base, "loss multi_scale") < 0.5 * self.score(base) for base in BASES)
        best = not any(self.better(base, label) for base in BASES for label in LOSSES)
        magnitudes = lsd["multi_scale"] < 0.8 * lsd["MSE"]
        why = "multi-scale loss ignores phase and learns no waveform" if no_waveform else ""
        why += ", yet the best magnitudes" if no_waveform and magnitudes else ""
        return graded((best, no_waveform, no_waveform and not magnitudes), measured, why)

    @claim("A power normalization helps; 1/2, 1/4 and 1/8 are excellent")
    def powers(self) -> Finding:
        labels = {"1": "power 1", "1/2": BASE, "1/4": "power 1/4", "1/8": "power 1/8"}
        losses = self.measures("multi_scale_loss", "partials", labels)
        scores = self.scores("partials", labels)
        measured = f"partials, correlation: {scores}; multi-scale spectral loss: {listed(losses)}"
        audible = all(losses[name] < losses["1"] for name in ("1/2", "1/4", "1/8"))
        waveform = not any(self.better("partials", "power 1", label) for label in labels.values())
        why = "a lower power weighs the quiet bins, a higher one learns the waveform sooner"
        return graded((audible, waveform), measured, why)

    @claim("At 1/32 and lower, small errors are too loud: too hard to learn")
    def small_powers(self) -> Finding:
        labels = {name: f"power {name}" for name in ("1/8", "1/16", "1/32")}
        snr = self.measures("snr_db", "partials", labels)
        scores = self.scores("partials", labels)
        measured = f"partials, SNR: {listed(snr, '{} {:.1f} dB')}; correlation: {scores}"
        falling = snr["1/32"] < snr["1/16"] < snr["1/8"]
        worse = self.score("partials", "power 1/32") < 0.8 * self.score("partials", "power 1/8")
        return graded((falling, worse), measured, "denormalizing multiplies a bin's relative error by 32 and more")

    @claim("Logarithmic normalization gives much noise")
    def logarithm(self) -> Finding:
        rows = {name: self.of("partials", name)["measures"] for name in ("logarithm", "power 1/8")}
        cell = ("partials, {0}: correlation {1[correlation]:.2f}, SNR {1[snr_db]:.1f} dB, "
                "sustain LSD {1[sustain_lsd_db]:.1f} dB")  # fmt: skip
        noisy = rows["logarithm"]["sustain_lsd_db"] > 1.2 * rows["power 1/8"]["sustain_lsd_db"]
        why = "for log(1 + x), x over -100 dB, straight below that; a logarithm without such a floor was not tried"
        return graded([noisy], listed(rows, cell, "; "), why)

    @claim("Phases of low bins are coherent; after about bin 200 they show aliasing", "half a second")
    def phases(self) -> Finding:
        raw, demodulated = (self.facts["change"][name] for name in ("raw", "heterodyned"))
        pairs = dict(zip(("bins 50-100", "200-400", "400-800"), zip(raw, demodulated, strict=True), strict=True))
        measured = f"change a frame at step 1, raw / heterodyned: {listed(pairs, '{0} {1[0]:.2f} / {1[1]:.4f}')}"
        why = "it is the bin's own carrier, 2 pi k / 2048 a frame, which heterodyning removes (02_phase_analysis)"
        return graded([raw[0] < 0.2 < raw[1]], measured, why)

    @claim("Oversampling by 4 reduces it: bandwidth up to 6 kHz", longer=True)
    def oversampling(self) -> Finding:
        rows = {n: self.of("seed", f"oversampling {n}" if n > 1 else BASE) for n in (1, 2, 4)}
        learnt = {n: (learnt_hz(row), explained(row, 1e3, 6e3)) for n, row in rows.items()}
        cell = "seed, factor {0}: {1[0]:.0f} Hz learnt, {1[1]:.1%} of 1-6 kHz explained"
        why = "two minutes on one core reach no 6 kHz at any factor; a factor acts as a shorter step (04_oversampling)"
        return Finding(PARTLY if learnt[4][1] > 1.2 * learnt[1][1] else OPEN, listed(learnt, cell, "; "), why)

    @claim("Loss curves of training and test fall together: no overfitting", "losses over time", longer=True)
    def overfitting(self) -> Finding:
        rows = {base: self.of(base) for base in BASES} | {"masks": self.of("masks", "mask_keyed")}
        train, melody = (
            {name: [shot[of]["loss"] for shot in row["snapshots"]] for name, row in rows.items()}
            for of in ("training", "melody")
        )
        ends = {name: (train[name][-1], melody[name][-1], min(melody[name])) for name in rows}
        cell = "{0}: training {1[0]:.3f}, melody {1[1]:.3f}, its least {1[2]:.3f}"
        falling = [last <= 1.05 * least for _, last, least in ends.values()]
        why = "the melody's loss ends at its least" if all(falling) else "the melody's loss rises again somewhere"
        return graded(falling, listed(ends, cell, "; "), why)

    @claim("Low bins are learnt well and fast, each new bin above takes far longer", "learning map", longer=True)
    def low_first(self) -> Finding:
        row, mask = self.of("seed"), self.of("masks", "mask_keyed")
        bands = {"<500 Hz": (0, 500), "<1k": (500, 1e3), "<2k": (1e3, 2e3), "<4k": (2e3, 4e3), "<8k": (4e3, 8e3)}
        parts = {name: explained(row, *band) for name, band in bands.items()}
        half, end = (learnt_hz(row, at) for at in (len(row["snapshots"]) - 3, -1))
        measured = (f"seed, explained at the end: {listed(parts, '{} {:.1%}')}; learnt {half:.0f} Hz at half the time, "
                    f"{end:.0f} at its end; mask_keyed {learnt_hz(mask):.0f} Hz")  # fmt: skip
        falling = parts["<500 Hz"] > parts["<2k"] > parts["<8k"]
        return graded([falling], measured, falling * "of the direct method; a mask network learns all bins at once")

    @claim("Two sines a note, without velocity, suffice as codification", longer=True)
    def two_sines(self) -> Finding:
        sines, partials, masks = self.score("seed"), self.score("partials"), self.score("masks", "mask_keyed")
        measured = (f"correlation in equal time: two sines {sines:.2f}, every partial {partials:.2f}, "
                    f"with masks {masks:.3f}")  # fmt: skip
        why = "they describe a score of one velocity fully, but every partial's phase must be computed from them"
        if sines >= partials:
            return Finding(CONFIRMED, measured, why)
        return graded((sines > 0.2, False), measured, f"the network learns from them, but far less: {why}")

    @claim("The method avoids Griffin-Lim's naive phase reconstruction", "the melody's waveform")
    def griffin_lim(self) -> Finding:
        theirs, ours = self.facts["griffin_lim"], self.of("seed")["measures"]
        mask = self.of("masks", "mask_keyed")["measures"]
        correlations, attacks = ([m[key] for m in (theirs, ours, mask)] for key in ("correlation", "attack_lsd_db"))
        measured = (
            "waveform correlation: Griffin-Lim on the true magnitudes {:.2f}, seed {:.2f}, mask_keyed {:.3f}; "
            "attack LSD {:.1f}, {:.1f}, {:.1f} dB"
        ).format(*correlations, *attacks)
        good = ours["correlation"] > theirs["correlation"]
        why = "phases are predicted; the seed's magnitudes are far worse than true ones" if good else ""
        return graded([good], measured, why)

    @claim("Hopes: the whole band, the transient problem solved, complex-valued networks", "masks")
    def hopes(self) -> Finding:
        mask, theirs = self.of("masks", "mask_keyed")["measures"], self.facts["griffin_lim"]["attack_lsd_db"]
        measured = (
            f"mask_keyed, five keys: bandwidth {mask['bandwidth_hz'] / 1000:.1f} kHz, attack LSD "
            f"{mask['attack_lsd_db']:.1f} dB (Griffin-Lim {theirs:.1f})"
        )
        why = "masks reach the band and the transients; complex-valued recurrent layers have not been built here"
        return Finding(PARTLY if mask["attack_lsd_db"] < theirs else OPEN, measured, why)
