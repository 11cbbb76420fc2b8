"""MIDI files to notes and back, by mido (notebook 01_codification)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mido

from nnss_utils.errors import InputError
from nnss_utils.paths import whole_file
from nnss_utils.spectral import SAMPLE_RATE

DRUM_CHANNEL = 9  # "channel 10" for musicians
SUSTAIN = 64  # controller number of the sustain pedal; 64 and above is down
TICKS_PER_BEAT = SAMPLE_RATE // 2  # with the default tempo of 0.5 s a beat, one tick is one sample
PITCHES = 128  # of MIDI


@dataclass(frozen=True, order=True)
class Note:
    """One note: start and end in seconds (end includes the sustain pedal), MIDI pitch and velocity."""

    start: float
    end: float
    pitch: int
    velocity: int = 100

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def samples_of(note: Note) -> tuple[int, int]:
    """Return a note's first sample and its length in samples: the length never depends on where it starts."""
    return round(note.start * SAMPLE_RATE), max(1, round(round(note.duration, 9) * SAMPLE_RATE))


def read_midi(path: str | Path) -> list[Note]:
    """Read the notes of a standard MIDI file of type 0 or 1, sorted by start; times in seconds.

    Drums (channel 10) are left out, the sustain pedal lengthens notes, a key struck again ends the note
    that the pedal held on its key, and notes never released end with the file. Raises `InputError` for a file
    that is missing, is not MIDI, is of type 2, or has no notes.
    """
    path = Path(str(path))  # a number given as a name is a name that does not exist
    if not path.is_file():
        raise InputError(f"MIDI file {path} does not exist; give the path of a .mid file")
    try:
        song = mido.MidiFile(path, clip=True)
    except (OSError, EOFError, ValueError, IndexError, KeyError, mido.KeySignatureError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} is not a readable MIDI file ({reason}); give a .mid file of type 0 or 1") from None
    if song.type == 2:
        raise InputError(f"{path} is MIDI of type 2 (independent songs); save it as type 0 or 1")
    if song.ticks_per_beat <= 0 or song.ticks_per_beat >= 0x8000:
        raise InputError(f"{path} counts time in SMPTE frames; save it with ticks per beat (metrical time)")
    notes = _notes_of(song)
    if not notes:
        raise InputError(f"{path} has no notes outside the drum channel; give a file with notes")
    return notes


def _timed_messages(song: mido.MidiFile) -> Iterator[tuple[float, int, mido.Message]]:
    """Yield (seconds, track, message) in the order of time, tempo changes of any track applied."""
    events = []
    for track_number, track in enumerate(song.tracks):
        tick = 0
        for message in track:
            tick += message.time
            events.append((tick, track_number, message))
    now, last_tick, tempo = 0.0, 0, 500_000
    for tick, track_number, message in sorted(events, key=lambda event: event[0]):
        now += mido.tick2second(tick - last_tick, song.ticks_per_beat, tempo)
        last_tick = tick
        if message.type == "set_tempo":
            tempo = message.tempo
        yield now, track_number, message


def _notes_of(song: mido.MidiFile) -> list[Note]:
    """Pair note-ons with note-offs, first in, first out on each key; the pedal holds what the keys let go."""
    held: dict[tuple, list[tuple[float, int]]] = defaultdict(list)  # (channel, pitch, track) -> (start, velocity)
    pedalled: dict[tuple, list[tuple[float, int]]] = defaultdict(list)  # the same, key up, pedal down
    pedal: dict[int, bool] = defaultdict(bool)
    notes: list[Note] = []
    now = 0.0

    def end(key: tuple, sounding: list[tuple[float, int]]) -> None:
        notes.extend(Note(start, now, key[1], velocity) for start, velocity in sounding if now > start)

    for now, track, message in _timed_messages(song):
        channel = getattr(message, "channel", DRUM_CHANNEL)
        if channel == DRUM_CHANNEL:  # drums, and whatever has no channel
            continue
        if message.type == "note_on" and message.velocity > 0:
            key = (channel, message.note, track)
            end(key, pedalled.pop(key, []))  # striking a key again ends what the pedal held of it
            held[key].append((now, message.velocity))
        elif message.type in ("note_on", "note_off") and held[key := (channel, message.note, track)]:
            released = held[key].pop(0)
            if pedal[channel]:
                pedalled[key].append(released)
            else:
                end(key, [released])
        elif message.type == "control_change" and message.control == SUSTAIN:
            pedal[channel] = message.value >= 64
            if not pedal[channel]:
                for key in [key for key in pedalled if key[0] == channel]:
                    end(key, pedalled.pop(key))
    for key, sounding in [*pedalled.items(), *held.items()]:
        end(key, sounding)
    return sorted(notes)


def write_midi(
    path: str | Path, notes: Iterable[Note], program: int = 0, pedal: Iterable[tuple[float, float]] = ()
) -> Path:
    """Write notes as a MIDI file of type 0 whose tick is one sample of 44.1 kHz; returns the path.

    pedal: (down, up) in seconds of the sustain pedal. Overlapping notes of one pitch can't be told apart in one
    MIDI channel, so the earlier is cut there.
    """
    events = []
    for down, up in pedal:
        for at, value in ((down, 127), (up, 0)):
            events.append((round(at * SAMPLE_RATE), 0, mido.Message("control_change", control=64, value=value)))
    for note in notes:
        on, held = samples_of(note)
        events.append((on, 1, mido.Message("note_on", note=note.pitch, velocity=note.velocity)))
        events.append((on + held, 0, mido.Message("note_off", note=note.pitch, velocity=0)))
    events.sort(key=lambda event: event[:2])  # a release comes before a strike at the same tick
    track = mido.MidiTrack(
        [mido.MetaMessage("set_tempo", tempo=500_000), mido.Message("program_change", program=program)]
    )
    now = 0
    for tick, _, message in events:
        track.append(message.copy(time=tick - now))
        now = tick
    song = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[track])
    with whole_file(Path(path)) as part:
        song.save(part)
    return Path(path)


def check_range(notes: Iterable[Note], low: int, high: int, whose: str) -> None:
    """Raise `InputError` that names the first note whose pitch is outside low..high, the range of `whose`."""
    for note in notes:
        if not low <= note.pitch <= high:
            raise InputError(
                f"note of pitch {note.pitch} at {note.start:.2f} s is outside {low}..{high}, the range of {whose}; "
                "transpose the piece or train on a wider scale"
            )
