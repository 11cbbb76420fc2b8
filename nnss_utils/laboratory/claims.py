"""What the method's author reports, claim by claim, each with its judge (notebook 07_claims).

A claim names its judge, a function of the laboratory's results in verdicts.py: the table is rebuilt from kept JSON,
and another run may judge otherwise.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nnss_utils.dsp.stft import Spectral
from nnss_utils.evaluation import phase
from nnss_utils.evaluation.baselines import griffin_lim
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.laboratory import verdicts
from nnss_utils.laboratory.experiment import Task
from nnss_utils.laboratory.grid import everything
from nnss_utils.laboratory.verdicts import OPEN, Finding, Results

LONG_RUN = "papermill 07_claims.ipynb out.ipynb -p training_seconds 36000 -p clock wall -p workers 1 -p rows"


@dataclass(frozen=True)
class Claim:
    """A claim in our words, the setting it is judged in, the judge, and whether a longer training might decide more."""

    number: int
    text: str
    setting: str
    judge: Callable[[Results, dict], Finding]
    longer: bool = False


def facts(seed: int = 0) -> dict:
    """Return what is measured without training: phases, Griffin-Lim and silence on the laboratory's melody."""
    task = Task()
    notes = task.melody()
    sound = Steinway().render(notes)
    onsets = np.array([note.start for note in notes])
    grids = {"raw": Spectral(2048, 1, heterodyne=False), "heterodyned": Spectral(2048, 1)}
    change = {name: phase.relative_change(sound[:22_050], grid, 1 / 8) for name, grid in grids.items()}
    bands = ((50, 100), (200, 400), (400, 800))
    return {
        "change": {name: [float(values[low:high].mean()) for low, high in bands] for name, values in change.items()},
        "griffin_lim": measure(sound, griffin_lim(sound, seed), onsets),
    }


EQUAL = "equal time, one core, five keys"
# claim in our words, setting, judge, and whether a longer training might decide more
_CLAIMS = (
    ("A double bidirectional LSTM is the best model; a third and a fourth layer don't improve it", EQUAL,
     verdicts.depth, True),
    ("GRU is almost as good as LSTM", EQUAL, verdicts.gru, True),
    ("Convolutional networks are costly and slow to train", EQUAL, verdicts.convolution, False),
    ("Transformers give bad results", EQUAL, verdicts.transformer, True),
    ("The shorter frame_step, the better; 1 is best", EQUAL, verdicts.steps, False),
    ("With frame_step 1 the high frequencies are lost", EQUAL, verdicts.highs, True),
    ("The longer frame_length, the better, at the price of training time", EQUAL, verdicts.lengths, False),
    ("Transients are lost above 2048; 2048 is best", EQUAL + ", attack LSD", verdicts.transients, False),
    ("Hann and Kaiser are the best windows", EQUAL, verdicts.windows, True),
    ("Mean squared error is the best loss; multi-scale spectral loss gives bad results", EQUAL, verdicts.loss, False),
    ("A power normalization helps; 1/2, 1/4 and 1/8 are excellent", EQUAL, verdicts.powers, False),
    ("At 1/32 and lower, small errors are too loud: too hard to learn", EQUAL, verdicts.small_powers, False),
    ("Logarithmic normalization gives much noise", EQUAL, verdicts.logarithm, False),
    ("Phases of low bins are coherent; after about bin 200 they show aliasing",
     "half a second", verdicts.phases, False),
    ("Oversampling by 4 reduces it: bandwidth up to 6 kHz", EQUAL, verdicts.oversampling, True),
    ("Loss curves of training and test fall alike: no overfitting", "losses over time", verdicts.overfitting, True),
    ("Low bins are learnt well and fast, each new bin above takes far longer",
     "learning map", verdicts.low_first, True),
    ("Two sines a note, without velocity, suffice as codification", EQUAL, verdicts.two_sines, True),
    ("The method avoids Griffin-Lim's naive phase reconstruction", "the melody's waveform",
     verdicts.griffin_lim, False),
    ("Hopes: the whole band, the transient problem solved, complex-valued networks", "masks", verdicts.hopes, False),
)  # fmt: skip
CLAIMS = tuple(Claim(number, *claim) for number, claim in enumerate(_CLAIMS, start=1))


def judge_all(rows: Mapping[str, dict], measured: dict) -> list[dict]:
    """Return each claim with its finding as dictionaries; one whose rows were not run is not decidable."""
    judged, known = [], {experiment.row for experiment in everything()}
    for claim in CLAIMS:
        results = Results(rows)
        try:
            finding = claim.judge(results, measured)
        except KeyError as missing:
            finding = Finding(OPEN, "", f"row {missing.args[0]!r} was not run")
        needed = ",".join(name for name in results.asked if name in known)
        command = f"{LONG_RUN} '{needed}'" if claim.longer else ""
        row = {"number": claim.number, "claim": claim.text, "setting": claim.setting}
        judged.append(row | dataclasses.asdict(finding) | {"gpu": command})
    return judged


def claims_table(judged: list[dict], *, short: bool = False) -> str:
    """Return judged claims as a Markdown table; `short` leaves out setting and measures."""
    heads = ("#", "claim", "verdict", "why") if short else ("#", "claim", "setting", "measured", "verdict", "why")
    rows = ({"#": str(row["number"]), **row, "verdict": f"**{row['verdict']}**"} for row in judged)
    return markdown_table(heads, ([row[head] for head in heads] for row in rows))
