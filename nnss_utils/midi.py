"""MIDI files to notes and back, by mido (notebook 01_codification)."""

import gc
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path

import mido
import numpy as np
from tqdm.utils import CallbackIOWrapper

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, progress_bar
from nnss_utils.midi_file import FRAME_RATES, plain_midi
from nnss_utils.paths import atomic_write, existing_file
from nnss_utils.pedals import SUSTAIN, Channel

DRUM_CHANNEL = 9  # "channel 10" for musicians
SOFT = 67  # controller number of the soft pedal
TICKS_PER_BEAT = SAMPLE_RATE // 2  # with the default tempo of 0.5 s a beat, one tick is one sample
PITCHES = 128  # of MIDI
MOST_BYTES = 10_000_000  # of a MIDI file
SHOWN_BYTES = 900_000  # from which reading shows its progress: two seconds
LONGEST = 24 * 3600.0  # s of music
LONGEST_DELTA = 0x0FFFFFFF  # ticks: four bytes of seven bits
DRUMS, NO_LENGTH = "on the drum channel", "of no length"  # why notes are left out
SOFT_PEDAL, BENDS = "of the soft pedal", "of the pitch bend"  # events that have no effect


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
        shown = {"unit": "B", "unit_scale": True, "desc": f"reading {path.name:.40}"}
        with progress_bar(total=len(content), disable=len(content) < SHOWN_BYTES, **shown) as bar:
            song = mido.MidiFile(file=CallbackIOWrapper(bar.update, io.BytesIO(content), "read"))
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


def _notes_of(messages: Iterable[tuple[float, int, mido.Message]]) -> tuple[list[Note], dict[str, int]]:
    """Return notes, paired first in, first out on each key, sorted by start, and how many events each reason leaves
    out."""
    channels: dict[int, Channel] = defaultdict(Channel)
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
