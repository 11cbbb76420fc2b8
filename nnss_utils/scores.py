"""Scores the project writes itself: the scale sequence to train on, two pieces by Bach and a performance (notebook
01_codification). Bach's notes are in the public domain; the tables are ours."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from nnss_utils.errors import InputError, check_number
from nnss_utils.midi import Note, read_midi

LOWEST, HIGHEST = 21, 108  # MIDI pitches of a piano
FUGUE_TEMPO = PRELUDE_TEMPO = 72.0  # quarter notes a minute

# Well-Tempered Clavier I, fugue 2 in C minor, BWV 847: the subject. (pitch, length in sixteenth notes)
FUGUE_SUBJECT = (
    (72, 1), (71, 1), (72, 2), (67, 2), (68, 2), (72, 1), (71, 1), (72, 2), (74, 2),
    (67, 2), (72, 1), (71, 1), (72, 2), (74, 2), (65, 1), (67, 1), (68, 4), (67, 1), (65, 1), (63, 4),
)  # fmt: skip

# Well-Tempered Clavier I, prelude 1 in C major, BWV 846: bars 1 to 32 break one chord of five notes each.
PRELUDE_CHORDS = (
    (60, 64, 67, 72, 76), (60, 62, 69, 74, 77), (59, 62, 67, 74, 77), (60, 64, 67, 72, 76),
    (60, 64, 69, 76, 81), (60, 62, 66, 69, 74), (59, 62, 67, 74, 79), (59, 60, 64, 67, 72),
    (57, 60, 64, 67, 72), (50, 57, 62, 66, 72), (55, 59, 62, 67, 71), (55, 58, 64, 67, 73),
    (53, 57, 62, 69, 74), (53, 56, 62, 65, 71), (52, 55, 60, 67, 72), (52, 53, 57, 60, 65),
    (50, 53, 57, 60, 65), (43, 50, 55, 59, 65), (48, 52, 55, 60, 64), (48, 55, 58, 60, 64),
    (41, 53, 57, 60, 64), (42, 48, 57, 60, 63), (44, 53, 59, 60, 62), (43, 53, 55, 59, 62),
    (43, 52, 55, 60, 64), (43, 50, 55, 60, 65), (43, 50, 55, 59, 65), (43, 51, 57, 60, 66),
    (43, 52, 55, 60, 67), (43, 50, 55, 60, 65), (43, 50, 55, 59, 65), (36, 48, 55, 58, 64),
)  # fmt: skip
# Bars 33 and 34: a bass, a second voice, and fourteen sixteenths; bar 35: the last chord.
PRELUDE_CODA = (
    (36, 48, (53, 57, 60, 65, 60, 57, 60, 57, 53, 57, 53, 50, 53, 50)),
    (36, 47, (67, 71, 74, 77, 74, 71, 74, 71, 67, 71, 62, 65, 64, 62)),
)
PRELUDE_END = (36, 48, 64, 67, 72)


def bwv847_fugue(velocity: int = 100) -> list[Note]:
    """Return the subject that opens Bach's C minor fugue BWV 847 (20 onsets, about 7 s): the seed's own test."""
    sixteenth = 60 / FUGUE_TEMPO / 4
    ends = accumulate(length for _, length in FUGUE_SUBJECT)
    table = [(end - length, end, pitch) for end, (pitch, length) in zip(ends, FUGUE_SUBJECT, strict=True)]
    return [Note(start * sixteenth, end * sixteenth, pitch, velocity) for start, end, pitch in table]


def bwv846_prelude(velocity: int = 100) -> list[Note]:
    """Return Bach's C major prelude BWV 846, 35 bars, about two minutes."""
    sixteenth = 60 / PRELUDE_TEMPO / 4
    table = []  # (position and length in sixteenths, pitch)
    for bar, chord in enumerate(PRELUDE_CHORDS):
        for at in (16 * bar, 16 * bar + 8):
            table += [(at, 8, chord[0]), (at + 1, 7, chord[1])]
            table += [(at + 2 + i, 1, pitch) for i, pitch in enumerate(chord[2:] * 2)]
    for bar, (bass, second, run) in enumerate(PRELUDE_CODA, start=len(PRELUDE_CHORDS)):
        table += [(16 * bar, 16, bass), (16 * bar + 1, 15, second)]
        table += [(16 * bar + 2 + i, 1, pitch) for i, pitch in enumerate(run)]
    table += [(16 * (bar + 1), 16, pitch) for pitch in PRELUDE_END]
    return sorted(Note(at * sixteenth, (at + length) * sixteenth, pitch, velocity) for at, length, pitch in table)


def performance(velocity: int = 120, seed: int = 0) -> list[Note]:
    """Return a fantasy on the prelude's chords as a pianist might play it, about two minutes: each bar's chord runs
    over all 88 keys and back under the sustain pedal, its top note repeats. Velocities run from 10 to `velocity` and
    the tempo bends with the phrases of four bars; both and every length are a little uneven, by `seed`. No note occurs
    twice alike. Ends of notes include the pedal, as `read_midi` returns them."""
    rng = np.random.default_rng(seed)
    softest, now, notes = min(10, velocity), 0.3, []
    for bar, chord in enumerate((*PRELUDE_CHORDS, PRELUDE_END)):
        keys = [key for key in range(LOWEST, HIGHEST + 1) if key % 12 in {pitch % 12 for pitch in chord}]
        run = [*keys, *[keys[-1]] * 5, *keys[-2::-1]] if bar % 2 == 0 else [*keys[::-1], *[keys[0]] * 5, *keys[1:]]
        place = (bar % 4 + np.linspace(0, 1, len(run), endpoint=False)) / 4  # in the phrase
        swell = np.sin(np.pi * place) ** 2
        loud = softest + (velocity - softest) * np.clip(swell + rng.normal(0, 0.08, len(run)), 0, 1)
        steps = 0.075 * (1.5 - 0.8 * swell) * np.exp(rng.normal(0, 0.12, len(run)))
        starts = now + np.cumsum(steps) - steps
        now = float(starts[-1] + steps[-1])
        lifted = now - 0.05  # the pedal, shortly before the next bar
        lengths = rng.uniform(0.06, 0.4, len(run)).tolist()
        for start, pitch, level, length in zip(starts.tolist(), run, loud, lengths, strict=True):
            notes.append(Note(start, max(start + length, lifted), pitch, round(level)))
    return _struck_again(notes)


def _struck_again(notes: list[Note]) -> list[Note]:
    """Return notes sorted by start, each ended by the next strike of its key."""
    following: dict[int, float] = {}
    cut = []
    for note in sorted(notes, reverse=True):
        cut.append(replace(note, end=min(note.end, following.get(note.pitch, note.end))))
        following[note.pitch] = note.start
    return cut[::-1]


SCORES = {"bwv847_fugue": bwv847_fugue, "bwv846_prelude": bwv846_prelude, "performance": performance}


def read_notes(midi: str | Path) -> list[Note]:
    """Return the notes of a MIDI file, or of one of SCORES by its name or "NAME@VELOCITY". Raises `InputError` for a
    velocity outside 1 to 127, and as `read_midi`."""
    score, _, velocity = str(midi).partition("@")
    if score not in SCORES:
        return read_midi(midi)
    if not velocity:
        return SCORES[score]()
    if not velocity.isdigit() or not 1 <= int(velocity) <= 127:
        raise InputError(f'midi={midi!r}: the velocity must be 1 to 127, as in "{score}@64"')
    return SCORES[score](int(velocity))


def scale_sequence(
    low: int = 21, high: int = 108, repetitions: int = 5, shortest: float = 0.03, longest: float = 2.0,
    sustained: float = 12.0, gap: float = 0.45, velocity: int = 100, softest: int = 0, seed: int = 0, every: int = 1,
    velocities: str = "",
) -> list[Note]:  # fmt: skip
    """Return pitches low..high, `every` semitones apart, up and down, one note at a time, with durations that vary.

    Durations run from `shortest` to `longest` (s) in equal ratios, shuffled by `seed` so that each key gets short
    and long ones; every key is held once for `sustained` s (0: never). After each note come `gap` s of rest for its
    release. Every note has the same velocity; with `softest`, velocities run from `softest` to `velocity`, shuffled
    in the same way; with `velocities` ("40,80,120"), each key has all durations at each of these. Raises `InputError`
    for a range, count or time that makes no sequence."""
    for name, value, least, most in (
        ("low", low, 0, 127), ("high", high, 0, 127), ("repetitions", repetitions, 1, 1000),
        ("velocity", velocity, 1, 127), ("softest", softest, 0, velocity), ("seed", seed, 0, 2**31 - 1),
        ("every", every, 1, 127),
    ):  # fmt: skip
        check_number(name, value, least, most, integer=True)
    for name, value, least in (
        ("shortest", shortest, 0.01), ("longest", longest, 0.01), ("sustained", sustained, 0), ("gap", gap, 0)
    ):  # fmt: skip
        check_number(name, value, least, 60)
    if low > high or shortest > longest:
        raise InputError(f"low={low}..high={high}, shortest={shortest}..longest={longest} s: give the smaller first")
    keys = range(len(range(low, high + 1, every)))
    rng = np.random.default_rng(seed)
    ladder = np.geomspace(shortest, longest, 2 * repetitions - (sustained > 0))
    ladder = np.append(ladder, [sustained] * (sustained > 0))  # as many durations as a key has notes
    if velocities:
        each = [(length, level) for level in chosen_velocities(velocities) for length in ladder]
        durations, levels = np.moveaxis(np.stack([rng.permutation(each) for _ in keys]), -1, 0)
    else:
        durations = np.stack([rng.permutation(ladder) for _ in keys])
        steps = np.linspace(softest or velocity, velocity, 2 * repetitions).round()
        levels = np.stack([rng.permutation(steps) for _ in keys])
    turns = range(durations.shape[1])
    order = [(key, turn) for turn in turns for key in (keys if turn % 2 == 0 else reversed(keys))]
    lengths = [float(durations[at]) for at in order]
    starts = accumulate((length + gap for length in lengths[:-1]), initial=0.1)
    return [
        Note(start, start + length, low + every * at[0], int(levels[at]))
        for at, start, length in zip(order, starts, lengths, strict=True)
    ]


def chosen_velocities(text: str) -> list[int]:
    """Return the velocities in a text such as "40,80,120"."""
    parts = text.split(",") if isinstance(text, str) else [""]
    if not all(part.strip().isdigit() and 1 <= int(part) <= 127 for part in parts):
        raise InputError(f'velocities={text!r}: give numbers from 1 to 127 with commas between, as in "40,80,120"')
    return sorted({int(part) for part in parts})
