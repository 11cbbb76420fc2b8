"""The cost of synthesis: against fluidsynth, polyphony and length, from a cold start, for one note (11_speed)."""

import os
import time
from functools import partial

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.instruments.soundfont import SoundFont
from nnss_utils.maintenance.bench_training import in_turns, repeated, timed
from nnss_utils.midi import Note
from nnss_utils.model.model_file import load_model
from nnss_utils.paths import PRETRAINED
from nnss_utils.provenance import peak_memory
from nnss_utils.scores import bwv846_prelude, performance, read_notes
from nnss_utils.synthesis.render import render, synthesize
from nnss_utils.synthesis.voice import VoiceRenderer, key_of

POLYPHONY = (1, 2, 4, 8, 16, 32)
LENGTHS = (1, 5, 20, 60, 300)  # s
HELD = 4.0  # s of the notes that polyphony is measured with
DEBIANS = "/usr/share/sounds/sf2/FluidR3_GM.sf2"  # unless NNSS_SOUNDFONT names another

play = partial(render, progress=False)


def prelude(seconds: float) -> list[Note]:
    """Return the first `seconds` of the prelude, repeated if it is shorter."""
    notes = bwv846_prelude()
    return repeated(notes, max(note.end for note in notes) + 0.5, seconds)


def speed(score: str, rounds: int = 3) -> dict:
    """Measure a score of the project by the network and by fluidsynth, in turns; warm, each from nothing cached."""
    model, notes = load_model(str(PRETRAINED)), read_notes(score)
    actions = {"network": partial(play, notes, model)}
    try:
        font = SoundFont(os.environ.get("NNSS_SOUNDFONT", DEBIANS))
        actions["fluidsynth"] = partial(font.perform, notes)
    except InputError as error:
        print(f"fluidsynth is not measured: {error}")
    lasts = max(note.end for note in notes)
    times = {name: lasts / seconds for name, seconds in in_turns(actions, rounds).items()}
    return times | {"notes": len(notes), "distinct": len({key_of(note) for note in notes})}


def memory(*lengths: int) -> dict:
    """Measure the peak memory of rendering the performance, repeated, block by block: after each of `lengths` (s), in
    MB of 2**20 bytes. Only the last ten seconds or so of voices are cached, so a repetition is made anew."""
    played = performance()
    notes = repeated(played, max(note.end for note in played) + 0.5, max(lengths))
    samples, peaks = 0, {}
    for block in synthesize(notes, load_model(str(PRETRAINED)), progress=False):
        samples += len(block)
        peaks |= {f"peak_{at}_mb": peak_memory() / 2**20 for at in lengths if samples <= at * SAMPLE_RATE}
    return peaks


def cost(rounds: int = 2) -> dict:
    """Measure seconds of work for a second of sound against polyphony (all notes different), and for each length."""
    model = load_model(str(PRETRAINED))
    pitches = np.linspace(model.low, model.high, max(POLYPHONY)).round().astype(int)
    chords = {str(n): [Note(0.0, HELD, int(p)) for p in pitches[:: max(POLYPHONY) // n][:n]] for n in POLYPHONY}
    pieces = {str(seconds): prelude(seconds) for seconds in LENGTHS}
    polyphony, length = (
        in_turns({name: partial(play, notes, model) for name, notes in group.items()}, rounds)
        for group in (chords, pieces)
    )
    return {"polyphony": {n: seconds / HELD for n, seconds in polyphony.items()}, "length": length}


def one_note() -> dict:
    """Measure the time of one note of a second in a running kernel, all keys different, and of the warm-up."""
    model = load_model(str(PRETRAINED))
    renderer = VoiceRenderer(model)
    warm_up = timed(renderer.warm_up)
    notes = [Note(0.0, 1.0, int(p), 90) for p in np.linspace(model.low, model.high, 24)]
    taken = [timed(partial(renderer.render, note)) for note in notes]
    return {
        "warm_up": warm_up,
        "median_ms": 1e3 * float(np.median(taken)),
        "worst_ms": 1e3 * max(taken),
        "remembered_ms": 1e3 * timed(partial(renderer.render, notes[0])),
    }


def cold_start(started: float) -> dict:
    """Return the stages of a start from nothing to ten seconds of sound; `started`: time.time() before the process."""
    times = [started, time.time()]
    model = load_model(str(PRETRAINED))
    times.append(time.time())
    notes = prelude(10)
    play(notes[:1], model)
    times.append(time.time())
    play(notes, model)
    times.append(time.time())
    names = ("imports", "model file", "compiling and the first note", "ten seconds of sound")
    return {"stages": dict(zip(names, np.diff(times).tolist(), strict=True)), "total": times[-1] - started}
