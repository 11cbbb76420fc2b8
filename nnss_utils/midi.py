"""MIDI files to notes and back, by mido (notebook 01_codification)."""

import gc
import io
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path

import mido
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, progress_bar
from nnss_utils.paths import atomic_write, existing_file

DRUM_CHANNEL = 9  # "channel 10" for musicians
SUSTAIN, SOSTENUTO, SOFT = 64, 66, 67  # controller numbers of the pedals; 64 and above is down
SOUND_OFF, NOTES_OFF = 120, 123  # controllers that end all notes of a channel: at once, and as if keys were released
TICKS_PER_BEAT = SAMPLE_RATE // 2  # with the default tempo of 0.5 s a beat, one tick is one sample
PITCHES = 128  # of MIDI
MOST_BYTES = 10_000_000  # of a MIDI file
MOST_EVENTS = 600_000  # of all tracks: more than 250,000 notes
SHOWN_BYTES = 900_000  # from which reading shows its progress: two seconds
LONGEST = 24 * 3600.0  # s of music
LONGEST_DELTA = 0x0FFFFFFF  # ticks: four bytes of seven bits
DRUMS, NO_LENGTH = "on the drum channel", "of no length"  # why notes are left out
SOFT_PEDAL, BENDS = "of the soft pedal", "of the pitch bend"  # events that have no effect
FRAME_RATES = {24: 24.0, 25: 25.0, 29: 30 / 1.001, 30: 30.0}  # frames a second of SMPTE time


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
    """Read the notes of a standard MIDI file of type 0 or 1, plain or in RIFF, sorted by start; times in seconds. The
    sustain and sostenuto pedals lengthen notes; a key struck again ends the note that a pedal holds on that key; notes
    that are never released end with the file. Drums (channel 10) and notes of no length are left out, soft pedal and
    pitch bend are ignored; all are counted in a printed line. Raises `InputError` for a file that is missing, not
    MIDI, of type 2, damaged, too large, or without notes."""
    path = existing_file(path, "MIDI file")
    if (size := path.stat().st_size / 1e6) > MOST_BYTES / 1e6:
        raise InputError(f"{path} has {size:.1f} MB; a MIDI file of music has at most {MOST_BYTES / 1e6:g}: split it")
    collects = gc.isenabled()
    gc.disable()  # it would search hundreds of thousands of messages that are all in use
    try:
        content = plain_midi(path.read_bytes())
        with _Watched(content, f"reading {path.name:.40}") as file:
            song = mido.MidiFile(file=file)
        notes, left_out = _notes_of(_timed_messages(song, content[12:14]))
    except (OSError, EOFError, ValueError, IndexError, KeyError, mido.KeySignatureError) as error:
        reason = str(error) or ("it ends too early" if isinstance(error, EOFError) else type(error).__name__)
        raise InputError(f"{path} is not a readable MIDI file ({reason}); give a .mid file of type 0 or 1") from None
    finally:
        if collects:
            gc.enable()
    reasons, ignored = (
        " and ".join(f"{left_out[reason]} {reason}" for reason in group if left_out[reason])
        for group in ((DRUMS, NO_LENGTH), (SOFT_PEDAL, BENDS))
    )
    if not notes:
        raise InputError(f"{path} has no notes that sound{f' ({reasons})' if reasons else ''}; give a file with notes")
    if (last := max(note.end for note in notes)) > LONGEST:
        raise InputError(f"{path} lasts {last / 3600:.0f} hours, over {LONGEST / 3600:g}; is a time in it wrong?")
    if reasons:
        print(f"{path.name}: {reasons} left out")
    if ignored:
        print(f"{path.name}: events {ignored} are ignored")
    return notes


def plain_midi(content: bytes) -> bytes:
    """Return the header and the tracks of a MIDI file's bytes, without what wraps them or stands between them. Raises
    ValueError unless all tracks that the header counts are there, complete, with numbers of four bytes at most: mido
    misses a track that the header does not count, and takes minutes for a number of a million bytes."""
    if content[:4] == b"RIFF" and content[8:12] == b"RMID":
        content = next((data for name, data in _chunks(content, 12, "little", 2) if name == b"data"), b"")
    if content[:4] != b"MThd" or len(content) < 14:
        raise ValueError("it does not begin with a MIDI header")
    kind, tracks, division = struct.unpack(">HHH", content[8:14])
    if kind > 1:
        raise ValueError(f"it is of type {kind}{', independent songs' if kind == 2 else ''}")
    rate, ticks = 256 - (division >> 8), division & 0xFF
    if division == 0 or (division >= 0x8000 and (rate not in FRAME_RATES or not ticks)):
        raise ValueError(
            f"it has {'0 ticks per beat' if division == 0 else f'{ticks} ticks in {rate} frames a second'}"
        )
    found = [
        data for name, data in _chunks(content, 8 + int.from_bytes(content[4:8], "big"), "big", 1) if name == b"MTrk"
    ]
    if len(found) != tracks:
        raise ValueError(f"its header says {tracks} tracks, and it has {len(found)}")
    if (events := sum(map(_count_events, found))) > MOST_EVENTS:
        raise ValueError(f"it has {events:,} events, at most {MOST_EVENTS:,} can be read: split it")
    header = b"MThd\0\0\0\6" + content[8:14]
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in found)


def _chunks(content: bytes, at: int, order: str, align: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of each chunk from `at` on; what is too short to be one is no chunk."""
    while at + 8 <= len(content) and content[at : at + 4].isalnum():
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], order)
        if end > len(content):
            raise ValueError(f"it ends too early, {end - len(content)} bytes are missing")
        yield content[at : at + 4], content[at + 8 : end]
        at = -(-end // align) * align


def _count_events(track: bytes) -> int:
    """Return how many events a track has, up to where it breaks the grammar (mido says how); ValueError for a number of
    more than four bytes."""
    at, status, count = 0, 0, 0
    while at < len(track):
        at, _ = _number(track, at)
        if at < len(track) and track[at] & 0x80:
            status, at = track[at], at + 1
        if status in (0xF0, 0xF7, 0xFF):
            at, size = _number(track, at + (status == 0xFF))
            at += size
        elif status >= 0x80:
            at += 1 if status & 0xE0 == 0xC0 else 2  # programs and pressures have one byte
        else:
            break
        count += 1
    return count


def _number(track: bytes, at: int) -> tuple[int, int]:
    """Return where a number of seven bits a byte ends, and the number."""
    value, first = 0, at
    while at < len(track):
        value, at = value << 7 | track[at] & 0x7F, at + 1
        if not track[at - 1] & 0x80:
            break
        if at - first == 4:
            raise ValueError("it has a number of more than four bytes")
    return at, value


class _Watched(io.BytesIO):
    """Bytes that show how much of them has been read, if they are many."""

    def __init__(self, content: bytes, text: str) -> None:
        super().__init__(content)
        shown = len(content) >= SHOWN_BYTES
        self.bar = progress_bar(total=len(content), desc=text, unit="B", unit_scale=True) if shown else None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        part = super().read(size)
        if self.bar is not None and self.tell() - self.bar.n > SHOWN_BYTES / 20:
            self.bar.update(self.tell() - self.bar.n)
        return part

    def close(self) -> None:
        """Close the bar too."""
        if self.bar is not None:
            self.bar.close()
        super().close()


def _timed_messages(song: mido.MidiFile, division: bytes) -> Iterator[tuple[float, int, mido.Message]]:
    """Yield (seconds, track, message) in order of time; ValueError for a tempo of 0 or a time that MIDI can't hold.
    division: of the header, ticks of a beat, or of a frame, whose time no tempo changes."""
    events = []
    for number, track in enumerate(song.tracks):
        if any(message.time > LONGEST_DELTA for message in track):
            raise ValueError(f"track {number + 1} has a delta time of more than four bytes")
        ticks = accumulate(message.time for message in track)
        events += [(tick, number, message) for tick, message in zip(ticks, track, strict=True)]
    frames = division[0] >= 0x80
    second = 1 / (FRAME_RATES[256 - division[0]] * division[1]) if frames else 0.5 / int.from_bytes(division, "big")
    now, last_tick = 0.0, 0
    events.sort(key=itemgetter(0))
    for tick, number, message in events:
        now += (tick - last_tick) * second
        last_tick = tick
        if message.type == "set_tempo":
            if message.tempo == 0:
                raise ValueError(f"a tempo of 0 at {now:.2f} s")
            second = second if frames else mido.tick2second(1, song.ticks_per_beat, message.tempo)
        yield now, number, message


class _Channel:
    """The keys of one channel: those that are held, and released ones that a pedal holds. (pitch, track): strikes."""

    def __init__(self) -> None:
        self.held: dict[tuple, deque[tuple[float, int]]] = defaultdict(deque)  # (start, velocity)
        self.pedalled: dict[tuple, list[tuple[float, int]]] = {}
        self.caught: set[tuple] = set()  # keys that the sostenuto pedal holds
        self.down = {SUSTAIN: False, SOSTENUTO: False}

    def strike(self, key: tuple, now: float, velocity: int) -> list[tuple]:
        """Add a note and return the notes that it ends."""
        self.held[key].append((now, velocity))
        return [(key, strike) for strike in self.pedalled.pop(key, ())]

    def release(self, key: tuple) -> list[tuple]:
        """Release the first strike of a key; return it if it ends."""
        if not self.held[key]:
            return []
        strike = self.held[key].popleft()
        if self.down[SUSTAIN] or key in self.caught:
            self.pedalled.setdefault(key, []).append(strike)
            return []
        return [(key, strike)]

    def control(self, number: int, value: int) -> list[tuple]:
        """Return the notes that a controller's event ends."""
        if number in (SOUND_OFF, NOTES_OFF):
            released = [
                ended for key, strikes in self.held.items() for _ in range(len(strikes)) for ended in self.release(key)
            ]
            return released + (self.free(lambda key: True) if number == SOUND_OFF else [])
        if number not in self.down or self.down[number] == (value >= 64):
            return []
        self.down[number] = value >= 64
        if number == SOSTENUTO:
            self.caught = {key for key, strikes in self.held.items() if strikes} if self.down[number] else set()
        return self.free(lambda key: not self.down[SUSTAIN] and key not in self.caught)

    def free(self, ends: Callable[[tuple], bool]) -> list[tuple]:
        """Return the notes that pedals hold no more, of the keys of which `ends` is true."""
        keys = [key for key in self.pedalled if ends(key)]
        return [(key, strike) for key in keys for strike in self.pedalled.pop(key)]


def _notes_of(messages: Iterable[tuple[float, int, mido.Message]]) -> tuple[list[Note], dict[str, int]]:
    """Return notes, paired first in, first out on each key, sorted by start, and how many events each reason leaves
    out."""
    channels: dict[int, _Channel] = defaultdict(_Channel)
    notes: list[Note] = []
    left_out, now = {DRUMS: 0, NO_LENGTH: 0, SOFT_PEDAL: 0, BENDS: 0}, 0.0

    def end(ended: Iterable[tuple]) -> None:
        for (pitch, _), (start, velocity) in ended:
            if now > start:
                notes.append(Note(start, now, pitch, velocity))
            else:
                left_out[NO_LENGTH] += 1

    for now, track, message in messages:
        kind = message.type
        if kind in ("note_on", "note_off"):
            struck, key = kind == "note_on" and message.velocity > 0, (message.note, track)
            if message.channel == DRUM_CHANNEL:
                left_out[DRUMS] += struck
            elif struck:
                end(channels[message.channel].strike(key, now, message.velocity))
            else:
                end(channels[message.channel].release(key))
        elif kind == "control_change":
            left_out[SOFT_PEDAL] += message.control == SOFT and message.value > 0
            end(channels[message.channel].control(message.control, message.value))
        elif kind == "pitchwheel":
            left_out[BENDS] += message.pitch != 0
    for channel in channels.values():
        end(channel.free(lambda key: True))
        end((key, strike) for key, strikes in channel.held.items() for strike in strikes)
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
