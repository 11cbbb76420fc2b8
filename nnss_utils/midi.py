"""MIDI files to notes and back, by mido (notebook 01_codification)."""

import gc
import io
import re
import struct
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path

import mido
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.paths import atomic_write, existing_file

DRUM_CHANNEL = 9  # "channel 10" for musicians
SUSTAIN = 64  # controller number of the sustain pedal; 64 and above is down
TICKS_PER_BEAT = SAMPLE_RATE // 2  # with the default tempo of 0.5 s a beat, one tick is one sample
PITCHES = 128  # of MIDI
MOST_BYTES = 900_000  # of a MIDI file: more than 100,000 notes, and two seconds of reading
LONGEST = 24 * 3600.0  # s of music
LONGEST_DELTA = 0x0FFFFFFF  # ticks: four bytes of seven bits
LONGEST_NUMBER = 2000  # bytes with the high bit set in a row: more than any valid number or text has
DRUMS, NO_LENGTH = "on the drum channel", "of no length"  # why notes are left out


@dataclass(frozen=True, order=True)
class Note:
    """One note: start and end in seconds (the end includes the sustain pedal), MIDI pitch and velocity."""

    start: float
    end: float
    pitch: int
    velocity: int = 100

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def midi_to_hz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in Hz in equal temperament, A4 = 440."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def nearest_key(pitch: int, heard: Iterable[int]) -> int:
    """Return the nearest of the keys that were heard to a key that was not, the lower one of two."""
    return min(heard, key=lambda key: (abs(key - pitch), key))


def samples_of(note: Note) -> tuple[int, int]:
    """Return a note's first sample and its length in samples; the length does not depend on the start."""
    return round(note.start * SAMPLE_RATE), max(1, round(round(note.duration, 9) * SAMPLE_RATE))


def moved(notes: Iterable[Note], seconds: np.ndarray) -> list[Note]:
    """Return notes, each later by its own `seconds` (notes,)."""
    pairs = zip(notes, seconds.tolist(), strict=True)
    return [replace(note, start=note.start + by, end=note.end + by) for note, by in pairs]


def read_midi(path: str | Path) -> list[Note]:
    """Read the notes of a standard MIDI file of type 0 or 1, sorted by start; times in seconds. The sustain pedal
    lengthens notes; a key struck again ends the note that the pedal holds on that key; notes that are never released
    end with the file. Drums (channel 10) and notes of no length are left out and counted in a printed line. Raises
    `InputError` for a file that is missing, not MIDI, of type 2, damaged, or without notes."""
    path = existing_file(path, "MIDI file")
    if (size := path.stat().st_size / 1e6) > MOST_BYTES / 1e6:
        raise InputError(f"{path} has {size:.1f} MB; a MIDI file of music has at most {MOST_BYTES / 1e6:g}: split it")
    collects = gc.isenabled()
    gc.disable()  # it would search hundreds of thousands of messages that are all in use
    try:
        content = path.read_bytes()
        check_chunks(content)
        notes, left_out = _notes_of(_timed_messages(mido.MidiFile(file=io.BytesIO(content))))
    except (OSError, EOFError, ValueError, IndexError, KeyError, mido.KeySignatureError) as error:
        reason = str(error) or ("it ends too early" if isinstance(error, EOFError) else type(error).__name__)
        raise InputError(f"{path} is not a readable MIDI file ({reason}); give a .mid file of type 0 or 1") from None
    finally:
        if collects:
            gc.enable()
    reasons = " and ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    if not notes:
        raise InputError(f"{path} has no notes that sound{f' ({reasons})' if reasons else ''}; give a file with notes")
    if (last := max(note.end for note in notes)) > LONGEST:
        raise InputError(f"{path} lasts {last / 3600:.0f} hours, over {LONGEST / 3600:g}; is a time in it wrong?")
    if reasons:
        print(f"{path.name}: {reasons} left out")
    return notes


def check_chunks(content: bytes) -> None:
    """Raise ValueError unless a MIDI file's bytes hold all tracks that its header counts, complete. mido misses a track
    that the header does not count, and takes minutes for a number of a million bytes."""
    if content[:4] != b"MThd" or len(content) < 14:
        raise ValueError("it does not begin with a MIDI header")
    kind, tracks, division = struct.unpack(">HHH", content[8:14])
    if kind > 1:
        raise ValueError(f"it is of type {kind}{', independent songs' if kind == 2 else ''}")
    if division >= 0x8000:
        raise ValueError("it counts time in SMPTE frames; save it with ticks per beat")
    if division == 0:
        raise ValueError("it has 0 ticks per beat")
    at, found = 8 + int.from_bytes(content[4:8], "big"), 0
    while content[at : at + 4] == b"MTrk":
        at, found = at + 8 + int.from_bytes(content[at + 4 : at + 8], "big"), found + 1
    if at > len(content):
        raise ValueError(f"it ends too early, {at - len(content)} bytes are missing")
    if found != tracks:
        raise ValueError(f"its header says {tracks} tracks, and it has {found}")
    if re.search(rb"[\x80-\xff]{%d}" % LONGEST_NUMBER, content):
        raise ValueError(f"it has a number of more than {LONGEST_NUMBER} bytes")


def _timed_messages(song: mido.MidiFile) -> Iterator[tuple[float, int, mido.Message]]:
    """Yield (seconds, track, message) in order of time; ValueError for a tempo of 0 or a time that MIDI can't hold."""
    events = []
    for number, track in enumerate(song.tracks):
        if any(message.time > LONGEST_DELTA for message in track):
            raise ValueError(f"track {number + 1} has a delta time of more than four bytes")
        ticks = accumulate(message.time for message in track)
        events += [(tick, number, message) for tick, message in zip(ticks, track, strict=True)]
    now, last_tick, second = 0.0, 0, mido.tick2second(1, song.ticks_per_beat, 500_000)
    events.sort(key=itemgetter(0))
    for tick, number, message in events:
        now += (tick - last_tick) * second
        last_tick = tick
        if message.type == "set_tempo":
            if message.tempo == 0:
                raise ValueError(f"a tempo of 0 at {now:.2f} s")
            second = mido.tick2second(1, song.ticks_per_beat, message.tempo)
        yield now, number, message


def _notes_of(messages: Iterable[tuple[float, int, mido.Message]]) -> tuple[list[Note], dict[str, int]]:
    """Return notes, paired first in, first out on each key, sorted by start, and how many each reason leaves out."""
    held: dict[tuple, deque[tuple[float, int]]] = defaultdict(deque)  # (channel, pitch, track): (start, velocity)
    # by channel: released keys that the pedal holds
    pedalled: dict[int, dict[tuple, list[tuple[float, int]]]] = defaultdict(dict)
    pedal: dict[int, bool] = defaultdict(bool)
    notes: list[Note] = []
    left_out, now = {DRUMS: 0, NO_LENGTH: 0}, 0.0

    def end(key: tuple, sounding: Iterable[tuple[float, int]]) -> None:
        for start, velocity in sounding:
            if now > start:
                notes.append(Note(start, now, key[1], velocity))
            else:
                left_out[NO_LENGTH] += 1

    for now, track, message in messages:
        kind = message.type
        if kind in ("note_on", "note_off"):
            channel, struck = message.channel, kind == "note_on" and message.velocity > 0
            if channel == DRUM_CHANNEL:
                left_out[DRUMS] += struck
                continue
            key = (channel, message.note, track)
            if struck:
                end(key, pedalled[channel].pop(key, ()))  # a new strike ends the note that the pedal holds
                held[key].append((now, message.velocity))
            elif held[key]:
                released = held[key].popleft()
                if pedal[channel]:
                    pedalled[channel].setdefault(key, []).append(released)
                else:
                    end(key, (released,))
        elif kind == "control_change" and message.control == SUSTAIN:
            pedal[message.channel] = message.value >= 64
            if not pedal[message.channel]:
                for key, sounding in pedalled.pop(message.channel, {}).items():
                    end(key, sounding)
    for key, sounding in [*(item for keys in pedalled.values() for item in keys.items()), *held.items()]:
        end(key, sounding)
    return sorted(notes), left_out


def write_midi(path: str | Path, notes: Iterable[Note], pedal: Iterable[tuple] = ()) -> Path:
    """Write notes as a MIDI file of type 0 whose tick is one sample of 44.1 kHz, and return the path. pedal: (down, up)
    of the sustain pedal in seconds. Of two notes of one pitch at a time, the later one cuts the earlier one."""
    events = [
        (round(at * SAMPLE_RATE), 0, mido.Message("control_change", control=SUSTAIN, value=value))
        for times in pedal
        for at, value in zip(times, (127, 0), strict=True)
    ]
    for note in notes:
        on, held = samples_of(note)
        events.append((on, 1, mido.Message("note_on", note=note.pitch, velocity=note.velocity)))
        events.append((on + held, 0, mido.Message("note_off", note=note.pitch, velocity=0)))
    events.sort(key=itemgetter(0, 1))  # a release comes before a strike at the same tick
    track = [mido.MetaMessage("set_tempo", tempo=500_000), mido.Message("program_change", program=0)]
    track += [m.copy(time=tick - before) for (before, *_), (tick, _, m) in pairwise([(0, 0, None), *events])]
    song = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[mido.MidiTrack(track)])
    with atomic_write(path) as part:
        song.save(part)
    return Path(path)


def check_range(notes: Iterable[Note], low: int, high: int, owner: str) -> None:
    """Raise `InputError` that names the first note whose pitch is outside low..high, the range of `owner`."""
    for note in notes:
        if not low <= note.pitch <= high:
            place = f"note of pitch {note.pitch} at {note.start:.2f} s is outside {low}..{high}, the range of {owner}"
            raise InputError(f"{place}; transpose the piece or train on a wider scale")
