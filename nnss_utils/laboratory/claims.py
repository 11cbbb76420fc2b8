"""The author's claims judged by the laboratory's results (notebook 07_claims). The table is made from cached results;
new results may give other verdicts. verdicts.py has claims and judges."""

import dataclasses
from collections.abc import Mapping

from nnss_utils.dsp.stft import Spectral
from nnss_utils.evaluation import phase
from nnss_utils.evaluation.baselines import griffin_lim
from nnss_utils.evaluation.metrics import measure
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.laboratory.experiment import Task
from nnss_utils.laboratory.grid import everything
from nnss_utils.laboratory.verdicts import CLAIMS, OPEN, Finding, Judges

LONG_RUN = "papermill 07_claims.ipynb out.ipynb -p training_seconds 36000 -p clock wall -p workers 1 -p rows"


def facts(seed: int = 0) -> dict:
    """Return what is measured without training: phases, Griffin-Lim and silence on the laboratory's melody."""
    notes = Task().melody()
    sound = Steinway().render(notes)
    grids = {"raw": Spectral(2048, 1, heterodyne=False), "heterodyned": Spectral(2048, 1)}
    change = {name: phase.relative_change(sound[:22_050], grid, 1 / 8) for name, grid in grids.items()}
    bands = ((50, 100), (200, 400), (400, 800))
    return {
        "change": {name: [float(values[low:high].mean()) for low, high in bands] for name, values in change.items()},
        "griffin_lim": measure(sound, griffin_lim(sound, seed), [note.start for note in notes]),
    }


def judge_all(rows: Mapping[str, dict], measured: dict) -> list[dict]:
    """Return each claim with its finding as dictionaries; one whose rows were not run is not decidable."""
    judged, known = [], {experiment.row for experiment in everything()}
    for number, (text, setting, longer, judge) in enumerate(CLAIMS, 1):
        judges = Judges(rows, measured)
        try:
            finding = judge(judges)
        except KeyError as missing:
            finding = Finding(OPEN, "", f"row {missing.args[0]!r} was not run")
        command = f"{LONG_RUN} '{','.join(name for name in judges.asked if name in known)}'" if longer else ""
        row = {"number": number, "claim": text, "setting": setting}
        judged.append(row | dataclasses.asdict(finding) | {"gpu": command})
    return judged


def claims_table(judged: list[dict], *, short: bool = False) -> str:
    """Return judged claims as a Markdown table; `short` leaves out setting and measures."""
    heads = ("#", "claim", "verdict", "why") if short else ("#", "claim", "setting", "measured", "verdict", "why")
    rows = ({"#": str(row["number"]), **row, "verdict": f"**{row['verdict']}**"} for row in judged)
    return markdown_table(heads, ([row[head] for head in heads] for row in rows))
