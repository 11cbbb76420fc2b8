"""A user's own pair: its checks, its timing, and the way from files to a trained network."""

import numpy as np
import pytest
import soundfile

from nnss_utils.errors import InputError
from nnss_utils.midi import Note, write_midi
from nnss_utils.pair import load_pair, make_pair, measure_timing, read_target
from nnss_utils.scores import bwv846_prelude, scale_sequence

NOTES = scale_sequence(55, 70, repetitions=2, longest=0.6, sustained=0)


def saved(folder, audio, notes=NOTES, rate=44100, subtype="FLOAT"):
    soundfile.write(folder / "own.wav", audio, rate, subtype=subtype)
    return write_midi(folder / "own.mid", notes), folder / "own.wav"


def moved(notes, offset=0.0, jitter=0.0):
    rng = np.random.default_rng(0)
    shifts = offset + jitter * rng.standard_normal(len(notes))
    return [Note(n.start + s, n.end + s, n.pitch, n.velocity) for n, s in zip(notes, shifts, strict=True)]


@pytest.mark.parametrize("offset", [0.0, 0.0317, -0.05, 0.8, 2.3])
@pytest.mark.parametrize("jitter", [0.0, 0.0004, 0.002])
def test_offset_and_jitter_are_read_off_the_onsets(piano, offset, jitter):
    timing = measure_timing(piano.render(moved(NOTES, offset, jitter)), NOTES)
    own = measure_timing(piano.render(NOTES), NOTES)
    assert own.jitter_ms < 0.01 and 0 <= own.offset_ms < 2  # the rise of the recordings themselves
    assert timing.offset_ms - own.offset_ms == pytest.approx(1000 * offset, abs=0.05 + 500 * jitter)
    assert timing.jitter_ms == pytest.approx(1000 * jitter, rel=0.25, abs=0.05)
    assert timing.onsets > 50


def test_polyphonic_music_is_found_too(piano):
    notes = bwv846_prelude()[:200]
    audio = np.pad(piano.render(notes), (1500, 0))
    assert measure_timing(audio, notes).offset_ms == pytest.approx(1500 / 44.1, abs=8)


def test_an_offset_is_reported_and_corrected(piano, tmp_path, capsys):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, np.pad(audio, (1323, 0)))
    pair = load_pair(midi, wav)
    said = capsys.readouterr().out
    assert "onsets +30." in said and "jitter 0.0" in said and "offset corrected" in said
    rise = pair.late - 1323
    assert 0 <= rise < 30  # of the fastest attacks
    np.testing.assert_array_equal(pair.audio[: len(audio) - rise], audio[rise:])
    assert pair.instrument.startswith("own recording")


def test_a_sample_exact_pair_comes_back_as_it_is(piano, tmp_path):
    made = make_pair(NOTES, piano)
    midi, wav = saved(tmp_path, made.audio)
    pair = load_pair(midi, wav)
    np.testing.assert_array_equal(pair.audio, made.audio)
    assert len(pair.notes) == len(made.notes)


def test_of_a_stereo_file_the_left_channel_counts(piano, tmp_path, capsys):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, np.stack([audio, -audio], axis=1))
    np.testing.assert_array_equal(load_pair(midi, wav).audio, audio)
    assert "2 channels, the left one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: (x, 48000), "48000 Hz"),
        (lambda x: (x[: len(x) // 2], 44100), "lasts"),
        (lambda x: (0 * x, 44100), "silent"),
        (lambda x: (np.where(np.arange(len(x)) == 99, np.nan, x), 44100), "not numbers"),
        (lambda x: (x[:0], 44100), "silent"),
    ],
)
def test_pairs_that_cannot_teach_are_refused(piano, tmp_path, change, says):
    audio, rate = change(piano.render(NOTES))
    midi, wav = saved(tmp_path, audio, rate=rate)
    with pytest.raises(InputError, match=says):
        load_pair(midi, wav)


def test_audio_without_readable_onsets_says_so_and_is_left_where_it_is(tmp_path, capsys):
    t = np.arange(60 * 44100) / 44100
    midi, wav = saved(tmp_path, (0.1 * np.sin(2 * np.pi * 100 * t)).astype(np.float32))
    pair = load_pair(midi, wav)
    assert "no onset of the MIDI file can be read" in capsys.readouterr().out and pair.late == 0


@pytest.mark.parametrize("moved_by", [0, 15])
def test_a_target_is_moved_like_the_training_pair(piano, tmp_path, moved_by):
    """Within 5 ms the training pair's own lateness counts: estimates differ by the attacks of the piece."""
    audio = piano.render(NOTES)
    soundfile.write(tmp_path / "target.wav", np.pad(audio, (900 + moved_by, 0)), 44100, subtype="FLOAT")
    np.testing.assert_array_equal(
        read_target(tmp_path / "target.wav", NOTES, 900)[: len(audio)], np.pad(audio, (moved_by, 0))[: len(audio)]
    )
    soundfile.write(tmp_path / "target.wav", np.pad(audio, (9000, 0)), 44100, subtype="FLOAT")
    assert len(read_target(tmp_path / "target.wav", NOTES, 900)) == pytest.approx(len(audio), abs=60)


def test_missing_and_broken_files_are_refused(piano, tmp_path):
    midi, wav = saved(tmp_path, piano.render(NOTES))
    (tmp_path / "text.wav").write_text("hello")
    for bad in (
        (midi, tmp_path / "none.wav"),
        (tmp_path / "none.mid", wav),
        (midi, ""),
        ("", wav),
        (midi, tmp_path / "text.wav"),
    ):
        with pytest.raises(InputError):
            load_pair(*bad)
