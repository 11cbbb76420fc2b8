"""A user's own pair: its checks, its timing, and the way from files to a trained network."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from nnss_utils.errors import InputError
from nnss_utils.instruments.alignment import coarse_offset, measure_alignment
from nnss_utils.instruments.pair import load_pair, make_pair, read_target
from nnss_utils.instruments.pitch_check import check_pitches, pitch_agreement, saliences
from nnss_utils.midi import Note, write_midi
from nnss_utils.scores import bwv846_prelude, bwv847_fugue, scale_sequence

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
    timing = measure_alignment(piano.render(moved(NOTES, offset, jitter)), NOTES)
    own = measure_alignment(piano.render(NOTES), NOTES)
    assert own.jitter_ms < 0.01 and 0 <= own.offset_ms < 2  # the rise of the recordings themselves
    assert timing.offset_ms - own.offset_ms == pytest.approx(1000 * offset, abs=0.05 + 500 * jitter)
    assert timing.jitter_ms == pytest.approx(1000 * jitter, rel=0.25, abs=0.05)
    assert timing.onsets > 50


def test_polyphonic_music_is_found_too(piano):
    notes = bwv846_prelude()[:200]
    audio = np.pad(piano.render(notes), (1500, 0))
    assert measure_alignment(audio, notes).offset_ms == pytest.approx(1500 / 44.1, abs=8)


def test_an_offset_is_reported_and_corrected(piano, tmp_path, capsys):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, np.pad(audio, (1323, 0)))
    pair = load_pair(midi, wav)
    said = capsys.readouterr().out
    assert "onsets +30." in said and "jitter 0.0" in said and "offset corrected" in said
    rise = pair.offset - 1323
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
    assert "2 channels; the left one is used" in capsys.readouterr().out


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
    midi, wav = saved(tmp_path, (0.1 * np.sin(2 * np.pi * 100 * t)).astype(np.float32), NOTES[:3])  # too few to tell
    pair = load_pair(midi, wav)
    assert "no onsets of the MIDI file found" in capsys.readouterr().out and pair.offset == 0


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


def test_the_recording_of_another_piece_is_refused(piano, tmp_path):
    """Even one that has the same onsets."""
    other = [Note(note.start, note.end, 55 + (note.pitch * 7) % 16, note.velocity) for note in NOTES]
    for notes in (other, bwv846_prelude()[:300]):
        midi, wav = saved(tmp_path, np.pad(piano.render(notes), (0, 60 * 44100)))
        with pytest.raises(
            InputError,
            match=r"own.wav is no recording of its MIDI file: .* rise more than the others in [45]\d% of comparisons",
        ):
            load_pair(midi, wav)
        with pytest.raises(InputError, match="no recording"):
            read_target(wav, NOTES, 0)


@pytest.mark.parametrize("by", [-0.1, 0.1, 4.5])
def test_a_pair_misaligned_by_much_is_put_right_and_said(piano, tmp_path, capsys, by):
    audio, samples = piano.render([Note(n.start + 0.2, n.end + 0.2, n.pitch) for n in NOTES]), round(by * 44100)
    notes = [Note(n.start + 0.2, n.end + 0.2, n.pitch) for n in NOTES]
    midi, wav = saved(
        tmp_path, np.pad(audio, (samples, 0)) if samples > 0 else np.pad(audio[-samples:], (0, 9999)), notes
    )
    pair = load_pair(midi, wav)
    assert f"moved by {-pair.offset} samples" in capsys.readouterr().out
    assert pair.offset == pytest.approx(samples, abs=30)
    midi, wav = saved(tmp_path, np.pad(audio, (6 * 44100, 0)), notes)
    with pytest.raises(InputError, match="which starts within 5 s of it"):
        load_pair(midi, wav)


def tones(notes, sound):
    """Return notes played by `sound(frequency, seconds (samples,), length)`."""
    out = np.zeros(round((notes[-1].end + 1) * 44100), np.float32)
    for note in notes:
        start, held = round(note.start * 44100), round(note.duration * 44100)
        t = np.arange(held) / 44100
        out[start : start + held] += 0.1 * sound(440 * 2 ** ((note.pitch - 69) / 12), t, note.duration)
    return out


@pytest.mark.parametrize(
    "sound",
    [
        lambda f, t, length: np.exp(-3 * t) * np.sin(2 * np.pi * f * 2 ** (0.3 / 12) * t),  # 30 cents sharp
        lambda f, t, length: np.sin(np.pi * t / length) ** 2 * np.sin(2 * np.pi * f * t),  # slow attack
        lambda f, t, length: np.exp(-5 * t) * sum(np.sin(2 * np.pi * h * f * t) / h for h in range(1, 9)),
    ],
)
def test_other_instruments_are_heard_too(sound):
    audio = tones(NOTES, sound)
    assert pitch_agreement(audio, NOTES, coarse_offset(audio, NOTES)) > 0.9


def test_likeness_is_one_for_dense_music_half_for_noise_and_none_for_nothing(piano):
    chords = [Note(0.5 * i, 0.5 * i + 1.5, p + i % 5) for i in range(1, 30) for p in (40, 60, 64, 67)]
    assert pitch_agreement(piano.render(chords), chords, 0.0) > 0.9
    noise = np.random.default_rng(0).standard_normal(16 * 44100).astype(np.float32)
    assert pitch_agreement(noise, chords, 0.0) == pytest.approx(0.5, abs=0.1)
    assert pitch_agreement(noise, chords[:4], 0.0) is None
    assert bwv847_fugue()[0].start == 0  # a note at the very start has no sound before it, and is left out


def even(pitches, seconds):
    return [Note(0.3 + seconds * i, 0.3 + seconds * (i + 0.9), pitch) for i, pitch in enumerate(pitches)]


@pytest.mark.parametrize("by", [-1.0, 0.25, 2.0])
@pytest.mark.parametrize(
    "notes",
    [even(range(40, 80), 0.5), even([p for p in range(50, 70) for _ in range(3)], 0.25), bwv846_prelude()[:160]],
    ids=["a note later each is a semitone higher", "each note thrice", "the same figure in every bar"],
)
def test_music_of_even_notes_is_put_right_by_its_pitches(piano, notes, by):
    """Its onsets alone fit at every note."""
    audio, samples = piano.render(notes), round(by * 44100)
    audio = np.pad(audio, (samples, 0)) if by > 0 else np.pad(audio[-samples:], (0, 44100))
    assert coarse_offset(audio, notes) == pytest.approx(by, abs=0.005)


@pytest.mark.parametrize(
    "semitones, says", [(7, "7 semitones higher"), (-12, "12 semitones lower"), (12, "12 semitones higher")]
)
def test_a_transposed_recording_is_said(piano, tmp_path, capsys, semitones, says):
    notes = bwv846_prelude()[:120]
    midi, wav = saved(tmp_path, piano.render([replace(n, pitch=n.pitch + semitones) for n in notes]), notes)
    load_pair(midi, wav)
    assert f"its notes sound {says} than its MIDI file's: " in capsys.readouterr().out
    midi, wav = saved(tmp_path, piano.render(notes), notes)
    load_pair(midi, wav)
    assert "semitones" not in capsys.readouterr().out


@pytest.mark.parametrize("semitones", [-3, 1, 4])
def test_a_recording_too_far_off_is_refused_with_its_transposition(piano, tmp_path, semitones):
    notes = bwv846_prelude()[:120]
    midi, wav = saved(tmp_path, piano.render([replace(n, pitch=n.pitch + semitones) for n in notes]), notes)
    way = "higher" if semitones > 0 else "lower"
    with pytest.raises(InputError, match=f"its notes sound {abs(semitones)} semitones {way} than its MIDI file's"):
        load_pair(midi, wav)


def test_saliences_are_the_sums_of_each_pitchs_partials():
    spectrum = np.random.default_rng(0).random(4097)
    found = saliences(spectrum)
    for pitch in (21, 60, 108, 127):
        middles = 440 * 2 ** ((pitch - 69) / 12) * np.arange(1, 9) * 8192 / 44100
        width = 2 ** (35 / 1200)
        parts = [spectrum[round(m / width) : round(m * width) + 1] for m in middles]
        assert found[pitch] == pytest.approx(sum(part.max(initial=0) for part in parts))


@pytest.mark.parametrize("ppm", [-200, 0, 50])
def test_a_drifting_recording_is_told_from_a_jittering_one(piano, ppm, tmp_path, capsys):
    notes = scale_sequence(55, 66, repetitions=3, longest=0.6, sustained=0)
    audio = np.pad(piano.render(notes), (0, 44100))
    drifted = np.interp(np.arange(len(audio) - 4410) / (1 + ppm * 1e-6), np.arange(len(audio)), audio)
    timing = measure_alignment(drifted.astype(np.float32), notes)
    assert timing.drift == pytest.approx(ppm / 1000, rel=0.03)
    midi, wav = saved(tmp_path, drifted.astype(np.float32), notes)
    load_pair(midi, wav)
    said = {-200: "it runs 0.020 % fast", 0: "", 50: "it runs 0.005 % slow"}[ppm]
    assert said in (told := capsys.readouterr().out) and ("drift" in told) == bool(ppm)
    assert measure_alignment(piano.render(moved(notes, 0.0, 0.002)), notes).drift == 0


def test_what_cannot_be_heard_is_not_judged(piano):
    notes = scale_sequence(60, 62, repetitions=1, longest=0.6, sustained=0)[:4]
    assert check_pitches(piano.render(notes), notes, 0.0) is None
    everything = [Note(1 + i, 1.9 + i, pitch) for i in range(6) for pitch in range(128)]  # no other pitch is silent
    assert pitch_agreement(np.zeros(9 * 44100, np.float32), everything, 0.0) == 0.5
