"""The bytes of a MIDI file: unwrapped and checked before mido reads them."""

import struct
from collections.abc import Iterator

MOST_EVENTS = 600_000  # of all tracks: more than 250,000 notes
MOST_TEXT = 1_000_000  # bytes of a text or a system message
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
    if (events := sum(count for count, _ in read)) > MOST_EVENTS:
        raise ValueError(f"it has {events:,} events, at most {MOST_EVENTS:,} can be read: split it")
    header = b"MThd\0\0\0\6" + content[8:14]
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for _, track in read)


def _chunks(content: bytes, at: int, order: str, align: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of each chunk from `at` on; what is too short to be one is no chunk."""
    while at + 8 <= len(content) and all(32 <= byte < 127 for byte in content[at : at + 4]):
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], order)
        if end > len(content):
            raise ValueError(f"it ends too early, {end - len(content)} bytes are missing")
        yield content[at : at + 4], content[at + 8 : end]
        at = -(-end // align) * align


def _read_events(track: bytes) -> tuple[int, bytes]:
    """Return how many events a track has, up to where it breaks the grammar (mido says how), and the track without
    texts and system messages that are longer than mido reads; ValueError for a number of more than four bytes."""
    at, running, count, kept, copied = 0, 0, 0, [], 0
    while at < len(track):
        at, _ = _number(track, at)
        told = track[at : at + 1] >= b"\x80"
        status, at = track[at] if told else running, at + told
        if status in (0xF0, 0xF7, 0xFF):  # after which the running status is the same as before
            said = at + (status == 0xFF)
            at, size = _number(track, said)
            if size > MOST_TEXT:
                kept += track[copied:said], b"\0"
                copied = at + size
            at += size
        elif 0x80 <= status < 0xF0:
            running, at = status, at + (1 if status & 0xE0 == 0xC0 else 2)  # programs and pressures have one byte
        else:
            break
        count += 1
    return count, b"".join([*kept, track[copied:]])


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
