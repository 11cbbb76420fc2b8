"""The cost of synthesis: against fluidsynth, polyphony and length, from a cold start, for one note (11_speed)."""

import dataclasses
import os
import time
from collections.abc import Callable

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.instruments.soundfont import SoundFont
from nnss_utils.maintenance.bench_training import status_mb, timed
from nnss_utils.midi import Note
from nnss_utils.model.forward import predict
from nnss_utils.model.inputs import Voices, voice_inputs
from nnss_utils.model.model_file import PRETRAINED, load_model
from nnss_utils.model.pairs import denormalize_pairs
from nnss_utils.scores import bwv846_prelude
from nnss_utils.synthesis.render import render, synthesize
from nnss_utils.synthesis.voice import VoiceRenderer

POLYPHONY = (1, 2, 4, 8, 16, 32)
LENGTHS = (1, 5, 20, 60, 300)  # s
HELD = 4.0  # s of the notes that polyphony is measured with


def prelude(seconds: float) -> list[Note]:
    """Return the first `seconds` of the prelude, played again and again if it is shorter."""
    notes = bwv846_prelude()
    lasts = max(note.end for note in notes) + 0.5
    repeated = (
        dataclasses.replace(note, start=note.start + i * lasts, end=note.end + i * lasts)
        for i in range(int(seconds / lasts) + 1)
        for note in notes
    )
    return [note for note in repeated if note.end <= seconds]


def speed(rounds: int = 5) -> dict:
    """Measure the prelude by the network and by fluidsynth, in turns; warm, each from nothing cached."""
    model, notes = load_model(str(PRETRAINED)), bwv846_prelude()
    font = _font()
    lasts = len(render(notes, model, progress=False)) / SAMPLE_RATE
    taken = {"network": [], "fluidsynth": []}
    for _ in range(rounds):
        taken["network"].append(timed(lambda: render(notes, model, progress=False)))
        if font is not None:
            taken["fluidsynth"].append(timed(lambda: font.perform(notes)))
    return {name: lasts / float(np.median(seconds)) for name, seconds in taken.items() if seconds}


def _font() -> SoundFont | None:
    """Return the SoundFont that NNSS_SOUNDFONT names, else Debian's; None where it or fluidsynth is missing."""
    try:
        return SoundFont(os.environ.get("NNSS_SOUNDFONT", "/usr/share/sounds/sf2/FluidR3_GM.sf2"))
    except InputError as error:
        print(f"fluidsynth is not measured: {error}")
        return None


def memory(seconds: int) -> dict:
    """Measure the peak memory and speed of rendering a piece of `seconds` s, block by block."""
    model, notes = load_model(str(PRETRAINED)), prelude(seconds)
    samples = 0

    def run() -> None:
        nonlocal samples
        samples = sum(len(block) for block in synthesize(notes, model, progress=False))

    taken = timed(run)
    return {"seconds": seconds, "peak_mb": status_mb("VmHWM"), "times_real_time": samples / SAMPLE_RATE / taken}


def cost(rounds: int = 3) -> dict:
    """Measure seconds of work for a second of sound against polyphony (all notes different) and length."""
    model = load_model(str(PRETRAINED))
    pitches = np.linspace(model.low, model.high, max(POLYPHONY)).round().astype(int)
    chords = {n: [Note(0.0, HELD, int(p)) for p in pitches[:: max(POLYPHONY) // n][:n]] for n in POLYPHONY}
    pieces = {seconds: prelude(seconds) for seconds in LENGTHS}
    for notes in (*chords.values(), pieces[LENGTHS[0]]):
        render(notes, model, progress=False)  # compiles

    def median(notes: list[Note]) -> float:
        return float(np.median([timed(lambda: render(notes, model, progress=False)) for _ in range(rounds)]))

    return {
        "polyphony": {str(n): median(notes) / HELD for n, notes in chords.items()},
        "length": {str(seconds): median(notes) for seconds, notes in pieces.items()},
    }


def one_note(count: int = 24) -> dict:
    """Measure how long one note of a second takes in a running kernel, all keys different; and the warming up."""
    model = load_model(str(PRETRAINED))
    renderer = VoiceRenderer(model)
    warm_up = timed(renderer.warm_up)
    notes = [Note(0.0, 1.0, int(p), 90) for p in np.linspace(model.low, model.high, count)]
    taken = [timed(lambda note=note: renderer.render(note)) for note in notes]
    return {
        "warm_up": warm_up,
        "median_ms": 1e3 * float(np.median(taken)),
        "worst_ms": 1e3 * max(taken),
        "remembered_ms": 1e3 * timed(lambda: renderer.render(notes[0])),
    }


def cold_start(begun: float) -> dict:
    """Return the stages of a start from nothing to ten seconds of sound; `begun`: time.time() before the process."""
    imported = time.time()
    model = load_model(str(PRETRAINED))
    loaded = time.time()
    notes = prelude(10)
    render(notes[:1], model, progress=False)
    compiled = time.time()
    render(notes, model, progress=False)
    done = time.time()
    stages = {
        "imports": imported - begun,
        "model file": loaded - imported,
        "compiling and the first note": compiled - loaded,
    }
    return {"stages": stages | {"ten seconds of sound": done - compiled}, "total": done - begun}


def tried(rounds: int = 7) -> dict:
    """Measure ways to run the network on a batch: ms for 1000 frames by XLA, by TensorFlow's graph, and eagerly."""
    import tensorflow

    model = load_model(str(PRETRAINED))
    renderer = VoiceRenderer(model)
    settings = model.settings
    ways: dict[str, tuple[Callable, dict, int]] = {}
    for rows in (64, 16, 8):
        pitches = np.linspace(model.low, model.high, rows).astype(int)
        renderer.tones.add((int(p), SAMPLE_RATE) for p in pitches)
        voices = Voices(pitches.astype(np.int64), np.full(rows, 100), np.full(rows, SAMPLE_RATE))
        inputs = voice_inputs(voices, np.full(rows, 3000), renderer.tones, settings, 16, model.longest)
        inputs = {name: tensorflow.constant(value) for name, value in inputs.items()}

        def forward(inputs: dict):
            power = settings.training.power
            return denormalize_pairs(predict(model.network, inputs, settings, model.output_scale), power)

        compiled = {"XLA": tensorflow.function(forward, jit_compile=True), "graph": tensorflow.function(forward)}
        if rows == 64:
            compiled["eager"] = forward
        ways |= {f"{name}, {rows} rows of 16 frames": (way, inputs, rows) for name, way in compiled.items()}
    for way, inputs, _ in ways.values():
        way(inputs)
    taken = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, inputs, rows) in ways.items():
            taken[name].append(1e6 * timed(lambda way=way, inputs=inputs: way(inputs).numpy()) / (16 * rows))
    return {name: float(np.median(values)) for name, values in taken.items()}
