"""Standard MIDI files against what the standard says they mean."""

import struct

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils.errors import InputError
from nnss_utils.midi import Note, check_range, read_midi, write_midi


def saved(path, *tracks, kind=1, ticks=480):
    """Write tracks of (message name, {fields}) and return the path."""
    song = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for track in tracks:
        song.tracks.append(mido.MidiTrack())
        for name, fields in track:
            make = mido.MetaMessage if name in ("set_tempo", "track_name") else mido.Message
            song.tracks[-1].append(make(name, **fields))
    song.save(path)
    return path


def on(note, time=0, velocity=80, channel=0):
    return "note_on", {"note": note, "velocity": velocity, "time": time, "channel": channel}


def off(note, time=0, channel=0):
    return "note_off", {"note": note, "velocity": 0, "time": time, "channel": channel}


def pedal(value, time=0, channel=0):
    return "control_change", {"control": 64, "value": value, "time": time, "channel": channel}


def spans(path):
    return [(n.pitch, round(n.start, 6), round(n.end, 6)) for n in read_midi(path)]


@pytest.mark.parametrize("kind", [0, 1])
def test_default_tempo_and_type(tmp_path, kind):
    path = saved(tmp_path / "a.mid", [on(60), off(60, 480)], kind=kind)
    assert read_midi(path) == [Note(0.0, 0.5, 60, 80)]


def test_tempo_changes_in_the_middle_of_a_note_and_in_another_track(tmp_path):
    tempo = [("set_tempo", {"tempo": 500_000}), ("set_tempo", {"tempo": 1_000_000, "time": 480})]
    path = saved(tmp_path / "a.mid", tempo, [on(60), off(60, 960), on(62), off(62, 240)])
    assert spans(path) == [(60, 0.0, 1.5), (62, 1.5, 2.0)]


def test_velocity_zero_ends_a_note(tmp_path):
    assert spans(saved(tmp_path / "a.mid", [on(60), on(60, 480, velocity=0)])) == [(60, 0.0, 0.5)]


def test_running_status(tmp_path):
    body = bytes([0, 0x90, 60, 80, 0x60, 60, 0, 0, 62, 80, 0x60, 62, 0, 0, 0xFF, 0x2F, 0])
    path = tmp_path / "running.mid"
    path.write_bytes(b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(body)) + body)
    assert spans(path) == [(60, 0.0, 0.5), (62, 0.5, 1.0)]


@pytest.mark.parametrize("kind", ["track_name", "sysex"])
def test_a_text_that_is_longer_than_mido_reads_changes_no_time(tmp_path, kind):
    fields = {"name": "x" * 9_000_000} if kind == "track_name" else {"data": [1] * 9_000_000}
    path = saved(tmp_path / "a.mid", [on(60), off(60, 480), (kind, {**fields, "time": 240}), on(62, 240), off(62, 480)])
    assert spans(path) == [(60, 0.0, 0.5), (62, 1.0, 1.5)]


def test_repeated_and_overlapping_notes_of_one_pitch_end_first_in_first_out(tmp_path):
    repeated = [on(60), off(60, 480), on(60), off(60, 480)]
    assert spans(saved(tmp_path / "a.mid", repeated)) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]
    overlapping = [on(60), on(60, 480), off(60, 480), off(60, 480)]
    assert spans(saved(tmp_path / "b.mid", overlapping)) == [(60, 0.0, 1.0), (60, 0.5, 1.5)]


def test_tracks_and_channels_keep_their_own_notes(tmp_path):
    long, short = [on(60), off(60, 960)], [on(60, 240), off(60, 240)]
    assert spans(saved(tmp_path / "a.mid", long, short)) == [(60, 0.0, 1.0), (60, 0.25, 0.5)]
    channels = [on(60), on(60, 240, channel=1), off(60, 240, channel=1), off(60, 480)]
    assert spans(saved(tmp_path / "b.mid", channels)) == [(60, 0.0, 1.0), (60, 0.25, 0.5)]


def test_drums_are_left_out(tmp_path):
    path = saved(tmp_path / "a.mid", [on(35, channel=9), off(35, 480, channel=9), on(60), off(60, 480)])
    assert [n.pitch for n in read_midi(path)] == [60]


def test_pedal_lengthens_what_the_key_lets_go(tmp_path):
    path = saved(tmp_path / "a.mid", [on(60), pedal(64, 240), off(60, 240), on(64, 0), off(64, 480), pedal(63, 480)])
    assert spans(path) == [(60, 0.0, 1.5), (64, 0.5, 1.5)]


def test_pedal_ends_where_the_key_is_struck_again_and_with_the_file(tmp_path):
    path = saved(tmp_path / "a.mid", [pedal(127), on(60), off(60, 240), on(60, 240), off(60, 240), pedal(127, 240)])
    assert spans(path) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]


def test_pedal_of_another_channel_and_pedal_after_the_release_change_nothing(tmp_path):
    path = saved(tmp_path / "a.mid", [pedal(127, channel=1), on(60), off(60, 480), pedal(127), pedal(0, 480)])
    assert spans(path) == [(60, 0.0, 0.5)]


def test_notes_never_released_end_with_the_file(tmp_path):
    assert spans(saved(tmp_path / "a.mid", [on(60), on(64, 480), off(64, 480)])) == [
        (60, 0.0, 1.0),
        (64, 0.5, 1.0),
    ]


notes = st.lists(
    st.tuples(st.integers(0, 400_000), st.integers(1, 100_000), st.integers(0, 127), st.integers(1, 127)),
    min_size=1,
    max_size=20,
    unique_by=lambda n: n[2],  # one pitch at a time: MIDI can't tell overlapping ones apart
)


@settings(max_examples=40, deadline=None)
@given(rows=notes)
def test_writing_and_reading_is_exact_to_the_sample(tmp_path_factory, rows):
    written = sorted(Note(s / 44100, (s + d) / 44100, p, v) for s, d, p, v in rows)
    read = read_midi(write_midi(tmp_path_factory.mktemp("midi") / "a.mid", written))
    for a, b in zip(written, read, strict=True):
        assert (a.pitch, a.velocity) == (b.pitch, b.velocity)
        assert round(a.start * 44100) == round(b.start * 44100) and round(a.end * 44100) == round(b.end * 44100)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), header=st.booleans())
def test_garbage_is_refused_in_one_line(tmp_path_factory, data, header):
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    track = b"MTrk" + struct.pack(">I", len(data)) + data
    path.write_bytes(b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + track if header else data)
    try:
        read_midi(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize(
    ("tracks", "kind", "says"),
    [
        ([], 1, "no notes"),
        ([[on(35, channel=9), off(35, 10, channel=9)]], 1, "no notes"),
        ([[on(60), off(60, 9)]], 2, "type 2"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, tracks, kind, says):
    with pytest.raises(InputError, match=says):
        read_midi(saved(tmp_path / "a.mid", *tracks, kind=kind))


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.mid", tmp_path, 5, ""):
        with pytest.raises(InputError, match=r"does not exist|Is a directory"):
            read_midi(path)


def test_range_error_names_the_note():
    with pytest.raises(InputError, match=r"pitch 90 at 1.50 s is outside 60..72"):
        check_range([Note(0, 1, 60), Note(1.5, 2, 90)], 60, 72, "the model x")


def control(number, value, time=0):
    return "control_change", {"control": number, "value": value, "time": time}


def test_the_sostenuto_pedal_holds_the_keys_that_are_down(tmp_path):
    track = [on(60), control(66, 127, 240), off(60, 240), on(62), off(62, 240), control(66, 0, 240)]
    assert spans(saved(tmp_path / "a.mid", track)) == [(60, 0.0, 1.0), (62, 0.5, 0.75)]
    both = [on(60), control(66, 64), pedal(64), off(60, 480), control(66, 0, 480), pedal(63, 480)]
    assert spans(saved(tmp_path / "b.mid", both)) == [(60, 0.0, 1.5)]


def test_all_notes_off_releases_keys_and_all_sound_off_ends_them(tmp_path):
    def track(number):
        return [on(60), on(64), pedal(127), off(60, 240), control(number, 0, 240), pedal(0, 480)]

    assert spans(saved(tmp_path / "a.mid", track(120))) == [(60, 0.0, 0.5), (64, 0.0, 0.5)]
    assert spans(saved(tmp_path / "b.mid", track(123))) == [(60, 0.0, 1.0), (64, 0.0, 1.0)]
    assert spans(saved(tmp_path / "c.mid", [on(60), control(123, 0, 480), off(60, 480)])) == [(60, 0.0, 0.5)]


def test_what_is_ignored_is_counted(tmp_path, capsys):
    bend = ("pitchwheel", {"pitch": 100, "time": 0})
    saved(tmp_path / "a.mid", [control(67, 127), on(60), bend, bend, off(60, 480), control(67, 0)])
    assert len(read_midi(tmp_path / "a.mid")) == 1
    assert "events 1 of the soft pedal and 2 of the pitch bend are ignored" in capsys.readouterr().out
