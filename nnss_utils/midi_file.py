"""The bytes of a MIDI file: unwrapped and checked before mido reads them."""

import struct
from collections.abc import Iterator

from mido.midifiles.meta import encode_variable_int

MOST_EVENTS = 600_000  # of all tracks, of those that are read: more than 250,000 notes
PEDALS, READ_CONTROLS = (64, 66), (67, 120, 123)  # controllers: down from 64 on; those of which each value counts
READ_META = b"\x51", b"\x2f"  # tempo, end of the track
FRAME_RATES = {24: 24.0, 25: 25.0, 29: 30 / 1.001, 30: 30.0}  # frames a second of SMPTE time


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
    if division == 0:
        raise ValueError("it has 0 ticks per beat")
    if division >= 0x8000 and (rate not in FRAME_RATES or not ticks):
        raise ValueError(f"it has {ticks} ticks in {rate} frames a second")
    first = 8 + int.from_bytes(content[4:8], "big")
    found = [data for name, data in _chunks(content, first, "big", 1) if name == b"MTrk"]
    if len(found) != tracks:
        raise ValueError(f"its header says {tracks} tracks, and it has {len(found)}")
    read = [_read_events(track) for track in found]
    if len({key for *_, pedals in read for key in pedals}) < sum(len(pedals) for *_, pedals in read):
        read = [_read_events(track, every=True) for track in found]  # two tracks share a pedal
    if (events := sum(count for count, *_ in read)) > MOST_EVENTS:
        raise ValueError(f"it has {events:,} events, at most {MOST_EVENTS:,} can be read: split it")
    header = b"MThd\0\0\0\6" + content[8:14]
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for _, track, _ in read)


def _chunks(content: bytes, at: int, order: str, align: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of each chunk from `at` on; what is too short to be one is no chunk."""
    while at + 8 <= len(content):
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], order)
        if end > len(content):
            if not all(32 <= byte < 127 for byte in content[at : at + 4]):
                return
            raise ValueError(f"it ends too early, {end - len(content)} bytes are missing")
        yield content[at : at + 4], content[at + 8 : end]
        at = -(-end // align) * align


def _read_events(track: bytes, every: bool = False) -> tuple[int, bytes, dict]:
    """Return how many events of a track count, the track with these alone, up to where it breaks the grammar (mido says
    how), and its pedals. Notes, tempi, its end, bends, and the controllers above count, of a pedal those where it goes
    down or up, or `every` one. ValueError for a number of more than four bytes."""
    at, running, count, kept, time, pedals = 0, 0, 0, bytearray(), 0, {}
    while at < len(track):
        first, (at, delta) = at, _number(track, at)
        told = track[at : at + 1] >= b"\x80"
        status, at = track[at] if told else running, at + told
        data = at
        if status in (0xF0, 0xF7, 0xFF):  # after which the running status is the same as before
            at, size = _number(track, at + (status == 0xFF))
            at += size
            counts = status == 0xFF and track[data : data + 1] in READ_META
        elif 0x80 <= status < 0xF0:
            running, at = status, at + (1 if status & 0xE0 == 0xC0 else 2)  # programs and pressures have one byte
            control, value = (*track[data:at], 0, 0)[:2]
            counts = status < 0xA0 or status >= 0xE0 or (status & 0xF0 == 0xB0 and control in READ_CONTROLS)
            if status & 0xF0 == 0xB0 and control in PEDALS:
                counts = every or pedals.get((status, control)) != (value >= 64)
                pedals[status, control] = value >= 64
        else:
            return count, bytes(kept) + bytes(encode_variable_int(time)) + track[first:], pedals
        time += delta
        if counts or at > len(track):
            kept += bytes(encode_variable_int(time)) + bytes([status]) + track[data:at]
            count, time = count + 1, 0
    return count, bytes(kept), pedals


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
