"""How well a recording's offset is found: `python tests/offsets.py FONT.sf2 MIDI ...` plays pieces by
several instruments, moves them by known offsets, and writes data/results/offsets.json. It needs the fluidsynth command.

The truth is what an instrument's isolated notes show, played without any offset: attacks take their time."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import soundfile

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import exit_with, progress_bar
from nnss_utils.instruments.alignment import measure_alignment
from nnss_utils.instruments.base import on_grid
from nnss_utils.instruments.load import load_instrument
from nnss_utils.instruments.score_match import match_score
from nnss_utils.midi import Note, moved, read_midi, write_midi
from nnss_utils.paths import RESULTS, relative, write_json
from nnss_utils.provenance import commit, data_digests, versions
from nnss_utils.scores import bwv846_prelude, performance, scale_sequence

RESULT = RESULTS / "offsets.json"
OFFSETS = (0.0, 0.003, 0.05, 1.5, 4.9, -0.2)  # s
PROGRAMS = (0, 4, 6, 11, 24, 46, 48)  # of General MIDI: pianos, harpsichord, vibraphone, guitar, harp, strings
LONGEST = 60.0  # s of a piece
LEAD = 0.5  # s before the first note, so that a recording can begin later
NOISE_DB = -40.0  # of white noise, under the sound
DRIFT = 100e-6  # of a recording whose clock runs slow


def main(arguments: Sequence[str]) -> None:
    """Measure all pairs and write the table."""
    font, *midis = arguments
    pieces = {"prelude": bwv846_prelude(), "performance": performance(seed=11)}
    pieces |= {Path(midi).stem: read_midi(midi) for midi in midis}
    pieces = {name: _begun(notes) for name, notes in pieces.items()}
    isolated = _begun(scale_sequence(30, 96, repetitions=1, longest=0.6, sustained=0, softest=30))
    rows, wrong, truths = [], [], {}
    instruments = ["steinway", font, *(f"fluidsynth program {number}" for number in PROGRAMS)]
    for instrument in progress_bar(instruments, desc="instruments", unit="instrument"):
        name = Path(instrument).name
        truth = measure_alignment(play(instrument, font, isolated), isolated)
        truths[name] = {"late_ms": float(truth.offset_ms), "doubt": truth.doubt}
        sounds = {piece: play(instrument, font, notes) for piece, notes in pieces.items()}
        for piece, sound in sounds.items():
            rows += _rows({"instrument": name, "piece": piece}, sound, pieces[piece], truth.offset_ms)
        for piece, other in [*pairwise(pieces), (list(pieces)[-1], next(iter(pieces)))]:
            match = match_score(np.pad(sounds[piece], (0, round(LONGEST * SAMPLE_RATE))), pieces[other])
            fits = match.fits and not match.semitones
            wrong.append(
                {"instrument": name, "piece": piece, "notes of": other, "refused": not fits}
                | {"clearness": match.clearness, "share": match.share, "semitones": match.semitones}
            )
    tables = {"summary": summary(rows, wrong), "isolated notes": truths, "pairs": rows, "wrong pairs": wrong}
    data = {name: data_digests(notes, np.zeros(0, np.float32))["notes_sha256"] for name, notes in pieces.items()}
    write_json(RESULT, tables | {"data": data, "versions": versions(), "commit": commit()})
    print(f"{relative(RESULT)}: {summary(rows, wrong)}")


def play(instrument: str, font: str, notes: Sequence[Note]) -> np.ndarray:
    """Return the sound of notes, float32 (samples,), by an instrument here or by the plain fluidsynth command."""
    if not instrument.startswith("fluidsynth program "):
        player = load_instrument(instrument)
        return player.render(on_grid(notes, player.grid))
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "a.mid"), Path(folder, "a.wav")
        song = mido.MidiFile(write_midi(midi, notes))
        for message in song.tracks[0]:
            if message.type == "program_change":
                message.program = int(instrument.split()[-1])
        song.save(midi)
        command = ["fluidsynth", "-ni", "-q", "-F", str(wav), "-r", str(SAMPLE_RATE), font, str(midi)]
        subprocess.run(command, check=True, capture_output=True)
        return np.ascontiguousarray(soundfile.read(wav, dtype="float32", always_2d=True)[0][:, 0])


def _begun(notes: Sequence[Note]) -> list[Note]:
    """Return the first LONGEST s of notes, LEAD s later."""
    first = [note for note in notes if note.start < LONGEST]
    return moved(first, np.full(len(first), LEAD))


def _rows(known: dict, sound: np.ndarray, notes: Sequence[Note], truth: float) -> Iterator[dict]:
    """Yield what is found in a sound that is moved, drifts or has noise; truth: ms of its isolated notes."""
    noise = np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    noisy = sound + noise * np.float32(10 ** (NOISE_DB / 20) * np.std(sound))
    t = np.arange(round(len(sound) * (1 + DRIFT))) / (1 + DRIFT)
    slower = np.interp(t, np.arange(len(sound)), sound).astype(np.float32)
    cases = [(offset, "", sound) for offset in OFFSETS] + [(0.05, "noise", noisy), (0.05, "drift", slower)]
    for offset, what, audio in cases:
        samples = round(offset * SAMPLE_RATE)
        recording = np.pad(audio, (samples, 0)) if samples >= 0 else audio[-samples:]
        match = match_score(recording, notes)
        found = measure_alignment(recording, notes, match)
        yield known | {
            "case": what, "true_ms": 1000 * offset, "recognized": match.fits and not match.semitones,
            "clearness": match.clearness, "share": match.share,
            "error_ms": float(found.offset_ms - 1000 * offset - truth), "moved_ms": 1000 * found.samples / SAMPLE_RATE,
            "jitter_ms": None if np.isnan(found.jitter_ms) else float(found.jitter_ms), "pace": float(found.pace),
            "onsets": found.onsets, "doubt": found.doubt,
        }  # fmt: skip


def summary(rows: Sequence[dict], wrong: Sequence[dict]) -> dict:
    """Return how many pairs are right, not sure or wrong, and how many are recognized and refused."""
    sure = [row for row in rows if not row["doubt"]]
    moved_apart = {}
    for row in sure:
        if not row["case"] and row["true_ms"] not in (0, 3):
            moved_apart.setdefault((row["instrument"], row["true_ms"]), []).append(row["moved_ms"])
    return {
        "pairs": len(rows), "not sure": len(rows) - len(sure),
        "within 0.5 ms": sum(bool(abs(row["error_ms"]) <= 0.5) for row in sure), "sure": len(sure),
        "worst error of sure ones, ms": max(abs(row["error_ms"]) for row in sure),
        "instruments and offsets moved alike": sum(bool(np.ptp(ms) < 0.1) for ms in moved_apart.values()),
        "instruments and offsets": len(moved_apart),
        "recognized": sum(row["recognized"] for row in rows),
        "wrong pairs": len(wrong), "refused": sum(row["refused"] for row in wrong),
    }  # fmt: skip


if __name__ == "__main__":
    exit_with(main)
