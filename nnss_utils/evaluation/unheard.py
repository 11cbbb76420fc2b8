"""Keys that a network never heard, against a sampler stretched from the keys that it heard (notebook
14_keys_never_heard). `python -m nnss_utils.evaluation.unheard MODEL [VELOCITY ...]` keeps
data/results/unheard/MODEL.json. Of an instrument that has fewer recordings than keys, recorded keys alone count."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from nnss_utils.errors import InputError, exit_with
from nnss_utils.evaluation.metrics import lsd_db, measure
from nnss_utils.evaluation.stretched import StretchedSampler
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.load import can_play, load_instrument
from nnss_utils.midi import Note
from nnss_utils.model.model_file import TrainedModel, load_model
from nnss_utils.paths import RESULTS, relative, write_json
from nnss_utils.provenance import commit, data_digests, versions
from nnss_utils.scores import chosen_velocities
from nnss_utils.synthesis.render import render

SECONDS = (0.15, 0.4, 1.0, 2.5, 5.0)  # that keys are held, in turn
PAUSE = 0.6  # s between two notes
REGISTERS = {"all": (0, 127), "21 to 47": (21, 47), "48 to 71": (48, 71), "72 to 108": (72, 108)}  # keys
RATIOS = {"LSD": "lsd_db", "attack LSD": "attack_lsd_db", "sustain LSD": "sustain_lsd_db", "MSS": "multi_scale_loss"}
HIGHEST = 8000  # Hz of the octaves whose level counts


def separate_notes(keys: Iterable[int], velocities: Sequence[int]) -> list[Note]:
    """Return a note of each key at each velocity, one after the other, held for SECONDS in turn."""
    notes, at = [], 0.1
    for number, (key, velocity) in enumerate(product(keys, velocities)):
        end = at + SECONDS[number % len(SECONDS)]
        notes.append(Note(at, end, key, velocity))
        at = end + PAUSE
    return notes


def measure_unheard(model: TrainedModel, heard: Iterable[int], velocities: Sequence[int] = ()) -> dict[str, dict]:
    """Return by register the measures of "network" and "sampler" on the keys of a model's range that are not `heard`,
    at `velocities`, each against the model's instrument. Without velocities: at the loudest one that the model heard.
    Raises `InputError` if there is no such key, and where the instrument can't be loaded."""
    heard, loudest = set(heard), model.heard.velocities[1]
    instrument = load_instrument(model.instrument)
    played = model.heard.dynamics.velocities if model.heard.dynamics else [loudest]
    sampler, rows = StretchedSampler(instrument, heard, played), {}
    true = set(getattr(instrument, "recorded", range(model.low, model.high + 1))) - heard
    for register, (low, high) in REGISTERS.items():
        keys = [key for key in range(max(low, model.low), min(high, model.high) + 1) if key in true]
        if not keys and register == "all":
            raise InputError(f"the model {model.name} has heard each key that is recorded: train one with -p every 3")
        notes = separate_notes(keys, velocities or [loudest])
        if not notes:
            continue
        target, onsets = instrument.render(notes), [note.start for note in notes]
        sounds = {"network": render(notes, model, progress=False), "sampler": sampler.render(notes)}
        rows[register] = {"keys": keys, "data": data_digests(notes, target)}
        for name, sound in sounds.items():
            sound = np.pad(sound[: len(target)], (0, max(0, len(target) - len(sound))))
            rows[register][name] = {**measure(target, sound, onsets), "lsd_db": lsd_db(target, sound)}
    return rows


def unheard_table(rows: dict[str, dict[str, dict]]) -> str:
    """Return the network's distances over the sampler's, and its largest error of an octave's level, as Markdown."""
    lines = []
    for register, row in rows.items():
        ratios = [f"{row['network'][key] / row['sampler'][key]:.2f}" for key in RATIOS.values()]
        levels = [
            max((band["level_db"] for band in row[name]["bands"] if band["high_hz"] <= HIGHEST), key=abs)
            for name in ("network", "sampler")
        ]
        lines.append([register, str(len(row["keys"])), *ratios, *(f"{level:+.1f}" for level in levels)])
    heads = [f"{name} over the sampler's" for name in RATIOS]
    return markdown_table(["keys", "number", *heads, "worst octave's level, dB", "the sampler's"], lines)


def main(arguments: list[str]) -> None:
    """Measure a model that has not heard all keys, keep the measures and print their table."""
    if not arguments:
        raise InputError("give one model; usage: python -m nnss_utils.evaluation.unheard MODEL [VELOCITY ...]")
    velocities = chosen_velocities(",".join(arguments[1:])) if arguments[1:] else []
    model = load_model(arguments[0])
    if not can_play(model.instrument):
        raise InputError(f"the model {model.name} learnt from a recording: nothing here can play its other keys")
    if "keys" not in model.training:
        raise InputError(f"the model {model.name} does not say which keys it has heard: train it again")
    rows = measure_unheard(model, model.training["keys"], velocities)
    file = RESULTS / "unheard" / f"{model.name}.json"
    made = {"data": rows["all"]["data"], "versions": versions(), "commit": commit()}
    content = {"model": model.name, "training": model.training, "velocities": velocities, "registers": rows}
    write_json(file, content | made)
    print(f"{unheard_table(rows)}\n\nmeasures: {relative(file)}")


if __name__ == "__main__":
    exit_with(main)
