"""Every MIDI file gives its notes or one clear error: the corners by name, then mutated files (fuzz.py)."""

import struct
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

from nnss_utils import midi, midi_file
from nnss_utils.errors import InputError
from nnss_utils.midi import Note, read_midi

TEMPO = "00ff5103 07a120"


def track(*parts: str | bytes) -> bytes:
    """Return a track chunk of events given as hexadecimal text or bytes."""
    events = b"".join(part if isinstance(part, bytes) else bytes.fromhex(part) for part in parts)
    return b"MTrk" + struct.pack(">I", len(events)) + events


def file_of(path, *tracks: bytes, kind: int = 1, count: int | None = None, division: int = 96):
    """Write a MIDI file of these track chunks and return its path."""
    header = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks) if count is None else count, division)
    path.write_bytes(header + b"".join(tracks))
    return path


ONE = track("00 903c40", "60 803c00")
HUGE = "ffffff7f"  # 0x0FFFFFFF ticks, the largest number of MIDI


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"tracks": [ONE], "division": 0}, "0 ticks per beat"),
        ({"tracks": [ONE], "division": 0xE900}, "0 ticks in 23 frames a second"),
        ({"tracks": [ONE], "kind": 2}, "type 2"),
        ({"tracks": [ONE], "kind": 7}, "type 7"),
        ({"tracks": [ONE, ONE], "count": 1}, "says 1 tracks, and it has 2"),
        ({"tracks": [ONE], "count": 3}, "says 3 tracks, and it has 1"),
        ({"tracks": [ONE[:-1]]}, "ends too early, 1 bytes are missing"),
        ({"tracks": [track("00 ff5103 000000", "00 903c40", "60 803c00")]}, "a tempo of 0 at 0.00 s"),
        ({"tracks": [track("00 903c40", "81ffffff7f 803c00")]}, "number of more than four bytes"),
        ({"tracks": [track(b"\xff" * 3000, "00 903c40")]}, "number of more than four bytes"),
        ({"tracks": [track(*[f"{HUGE} 903c40", f"{HUGE} 803c00"] * 20)]}, "hours, over 24"),
        ({"tracks": [track("00 3c40", "60 3c00")]}, "running status"),
        ({"tracks": [track("00 803c40", "60 803c00")]}, "no notes"),
        ({"tracks": [track("00 993c40", "60 893c00")]}, "1 on the drum channel"),
        ({"tracks": [track("00 903c40", "00 803c00")]}, "1 of no length"),
        ({"tracks": [track("00 90c840", "60 80c800")]}, "data byte"),
        ({"tracks": [track("00 903c40", "60 803c00", "00 ff0187ffffff7f")]}, "is not a readable"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, content, says):
    path = file_of(tmp_path / "bad.mid", *content.pop("tracks"), **content)
    with pytest.raises(InputError) as caught:
        read_midi(path)
    assert says in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def spans(notes):
    return [(note.pitch, round(note.start, 6), round(note.end, 6)) for note in notes]


def test_a_note_off_without_a_note_on_is_nothing(tmp_path):
    assert spans(read_midi(file_of(tmp_path / "a.mid", track("00 803c00", "00 903c40", "60 803c00", "00 803c00")))) == [
        (60, 0, 0.5)
    ]


def test_running_status_goes_on_across_meta_events_and_sysex_and_unknown_ones_change_nothing(tmp_path):
    events = track(
        "00 903c40", "30 ff01 02 6869", "00 ff7d 03 010203", "00 f0 03 7e7ff7", "30 903c00", "00 4040", "30 4000"
    )
    assert spans(read_midi(file_of(tmp_path / "a.mid", events))) == [(60, 0, 0.5), (64, 0.5, 0.75)]
    across = track("00 903c40", "30 ff01 02 6869", "30 3c00")
    assert spans(read_midi(file_of(tmp_path / "b.mid", across))) == [(60, 0, 0.5)]


def test_one_pitch_on_two_channels_is_two_notes(tmp_path):
    events = track("00 903c40", "30 913c50", "30 803c00", "30 813c00")
    assert spans(read_midi(file_of(tmp_path / "a.mid", events))) == [(60, 0, 0.5), (60, 0.25, 0.75)]


def test_128_tracks_are_all_read(tmp_path):
    tracks = [track(f"00 9{n % 8}{n:02x}40", f"60 8{n % 8}{n:02x}00") for n in range(128)]
    assert [note.pitch for note in read_midi(file_of(tmp_path / "a.mid", *tracks))] == list(range(128))


def test_huge_delta_times_are_exact(tmp_path):
    (note,) = read_midi(file_of(tmp_path / "a.mid", track(f"{HUGE} 903c40", "60 803c00"), division=0x7FFF))
    assert note == Note(pytest.approx(0x0FFFFFFF / 0x7FFF / 2), pytest.approx((0x0FFFFFFF + 0x60) / 0x7FFF / 2), 60, 64)


def test_what_is_left_out_is_said(tmp_path, capsys):
    events = track("00 903c40", "00 993c40", "00 904040", "00 804000", "60 803c00", "00 893c00", "00 904340")
    assert spans(read_midi(file_of(tmp_path / "a.mid", events))) == [(60, 0, 0.5)]
    assert capsys.readouterr().out == "a.mid: 1 on the drum channel and 2 of no length left out\n"


def test_bytes_after_the_last_track_are_nobodys(tmp_path):
    path = file_of(tmp_path / "a.mid", ONE)
    path.write_bytes(path.read_bytes() + b"\0" * 100 + b"XFIH\0\0\0\1x")
    assert len(read_midi(path)) == 1


@pytest.mark.parametrize("alike", [False, True])
def test_a_hundred_thousand_notes(tmp_path, alike):
    """All one after the other; or all of one key struck first and let go afterwards."""
    on, off = (b"\x01\x90\x3c\x40", b"\x01\x80\x3c\x00")
    events = on * 100_000 + off * 100_000 if alike else (on + off) * 100_000
    notes = read_midi(file_of(tmp_path / "a.mid", track(events)))
    assert len(notes) == 100_000 and notes == sorted(notes)


def test_a_file_too_large_to_be_music_is_refused(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(bytes(midi.MOST_BYTES + 1))
    with pytest.raises(InputError, match=r"has 10.0 MB; a MIDI file of music has at most 10: split it"):
        read_midi(path)
    events = b"\0\x90\x3c\x40" + b"\x01\x3c\0\x01\x3c\x40" * 300_001
    with pytest.raises(InputError, match=r"it has 600,003 events, at most 600,000 can be read: split it"):
        read_midi(file_of(path, track(events)))


def test_events_that_do_not_count_do_not_limit_a_file(tmp_path):
    """Hundreds of thousands of controller events and pedal positions with two notes, as recorders write them."""
    swell = b"".join(b"\x01\xb0\x0b" + bytes([value % 128]) for value in range(400_000))
    pedal = b"".join(b"\x01\xb0\x40" + bytes([value]) for value in (70, 90, 127, 100, 64, 63, 20, 0)) * 30_000
    notes = track("00 903c40", pedal, "00 803c00", swell, "00 904040", "60 804000")
    first, second = read_midi(file_of(tmp_path / "a.mid", notes))
    assert (first.pitch, second.pitch) == (60, 64) and first.start == 0
    assert second.start == pytest.approx((240_000 + 400_000) * 0.5 / 96, rel=1e-9)


def test_two_tracks_may_move_one_pedal(tmp_path):
    """Down in the first, up in the second, down in the first again: the note is held from then on."""
    one = track("00 903c40", "00 b0407f", "81 40 b0407f", "00 904040", "10 804000", "83 60 903e40", "10 803e00")
    two = track("60 b04000", "87 00 b04000")
    notes = {note.pitch: note for note in read_midi(file_of(tmp_path / "a.mid", one, two))}
    assert notes[64].duration > 1


def test_a_chunk_of_any_name_before_the_tracks_is_read_over(tmp_path):
    whole = file_of(tmp_path / "a.mid", track("00 903c40", "60 803c00")).read_bytes()
    strange = tmp_path / "b.mid"
    strange.write_bytes(whole[:14] + b"\x00\x01\x02\xff" + (5).to_bytes(4, "big") + b"\0\xff\1\2\3" + whole[14:])
    assert read_midi(strange) == read_midi(tmp_path / "a.mid")


def test_text_of_any_length_and_script_is_read_over(tmp_path):
    lyrics = ("ピアノ" * 2000).encode("shift-jis")
    text = b"\0\xff\x05" + bytes([0x80 | len(lyrics) >> 7, len(lyrics) & 0x7F]) + lyrics
    assert len(read_midi(file_of(tmp_path / "a.mid", track(text, "00 903c40", "60 803c00")))) == 1


def test_running_status_goes_on_after_text(tmp_path):
    """mido reads it so; the words after a number of many bytes are not numbers."""
    odd = "00 903c40", "00 ff0504ffffffff", "10 3c00", "00 f00501020304f7", "00 904040", "10 4000"
    notes = read_midi(file_of(tmp_path / "a.mid", track(*odd)))
    assert [note.pitch for note in notes] == [60, 64]


def test_chunks_between_the_tracks_and_riff_around_them_are_read_over(tmp_path):
    plain = file_of(tmp_path / "plain.mid", ONE, ONE)
    odd = file_of(tmp_path / "odd.mid", b"XFIH" + struct.pack(">I", 3) + b"abc", ONE, b"junk\0\0\0\0", ONE, count=2)
    content = plain.read_bytes()
    data = b"data" + struct.pack("<I", len(content)) + content
    info = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    wrapped = tmp_path / "riff.mid"
    wrapped.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(info + data)) + b"RMID" + info + data)
    assert read_midi(plain) == read_midi(odd) == read_midi(wrapped)


@pytest.mark.parametrize(
    ("division", "seconds"),
    [(0xE728, 96 / 1000), (0xE850, 96 / 1920), (0xE364, 96 * 1.001 / 3000), (0xE264, 96 / 3000)],
)
def test_smpte_time_counts_frames_and_no_tempo_changes_it(tmp_path, division, seconds):
    (note,) = read_midi(file_of(tmp_path / "a.mid", track(TEMPO, "00 903c40", "60 803c00"), division=division))
    assert note.duration == pytest.approx(seconds)


def test_mutated_files_give_all_their_notes_or_one_error():
    outcomes = fuzz.fuzz_midi(1500, seed=1)
    assert outcomes["read"] > 50 and outcomes["refused"] > 500


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory as Linux does")
def test_reading_needs_little_memory(tmp_path):
    """The longest file that is read, by a process of its own."""
    events = b"\0\x90\x3c\x40" + b"\x01\x3c\0\x01\x3c\x40" * (midi_file.MOST_EVENTS // 2 - 1)
    path = file_of(tmp_path / "a.mid", track(events))
    code = f"""
from pathlib import Path
from nnss_utils.midi import read_midi
notes = read_midi({str(path)!r})
print(len(notes), Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    count, kilobytes = map(int, said.splitlines()[-1].split())
    assert count == midi_file.MOST_EVENTS // 2 - 1 and kilobytes < 800_000
