"""A user's own pair: its checks, its timing, and the way from files to a trained network."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from nnss_utils.errors import InputError
from nnss_utils.instruments import score_match
from nnss_utils.instruments.alignment import measure_alignment
from nnss_utils.instruments.pair import load_pair, make_pair, read_target
from nnss_utils.instruments.pitch_check import octaves_off
from nnss_utils.instruments.score_match import HOP, LAG, LOWEST, match_score, onset_map
from nnss_utils.midi import Note, write_midi
from nnss_utils.scores import bwv846_prelude, bwv847_fugue, performance, scale_sequence

NOTES = scale_sequence(55, 70, repetitions=2, longest=0.6, sustained=0)


def saved(folder, audio, notes=NOTES, rate=44100, subtype="FLOAT"):
    soundfile.write(folder / "own.wav", audio, rate, subtype=subtype)
    return write_midi(folder / "own.mid", notes), folder / "own.wav"


def moved(notes, offset=0.0, jitter=0.0):
    rng = np.random.default_rng(0)
    shifts = offset + jitter * rng.standard_normal(len(notes))
    return [Note(n.start + s, n.end + s, n.pitch, n.velocity) for n, s in zip(notes, shifts, strict=True)]


@pytest.mark.parametrize("offset", [0.0, 0.0317, -0.05, 0.8, 4.9])
@pytest.mark.parametrize("jitter", [0.0, 0.0004, 0.002])
def test_offset_and_jitter_are_read_off_the_onsets(piano, offset, jitter):
    timing = measure_alignment(piano.render(moved(NOTES, offset, jitter)), NOTES)
    own = measure_alignment(piano.render(NOTES), NOTES)
    assert own.jitter_ms < 0.1 and abs(own.offset_ms) < 1 and own.samples == 0  # the rise of the recordings themselves
    assert timing.offset_ms - own.offset_ms == pytest.approx(1000 * offset, abs=0.05 + 500 * jitter)
    assert timing.jitter_ms == pytest.approx(1000 * jitter, rel=0.3, abs=0.1)
    assert timing.onsets > 50 and timing.pace == 1


@pytest.mark.parametrize("offset", [0.0, 0.05, 1.5, -0.2])
@pytest.mark.parametrize("dense", [performance(seed=3)[:500], bwv846_prelude()[:250]], ids=["performance", "prelude"])
def test_dense_music_shows_the_offset_of_isolated_notes_or_none(piano, dense, offset):
    notes = [replace(note, start=note.start + 0.3, end=note.end + 0.3) for note in dense]
    audio, samples = piano.render(notes), round(offset * 44100)
    timing = measure_alignment(np.pad(audio, (samples, 0)) if samples >= 0 else audio[-samples:], notes)
    alone = measure_alignment(piano.render(NOTES), NOTES).offset_ms
    assert not timing.doubt and timing.offset_ms - 1000 * offset == pytest.approx(alone, abs=0.5)
    assert timing.samples == samples and timing.jitter_ms < 0.3 and timing.pace == 1


def test_what_is_not_sure_moves_nothing(tmp_path, capsys):
    """Attacks of a quarter of each note have no onset to read."""
    audio = np.pad(
        tones(NOTES, lambda f, t, length: np.sin(np.pi * t / length) ** 2 * np.sin(2 * np.pi * f * t)), (40000, 0)
    )
    midi, wav = saved(tmp_path, audio)
    pair = load_pair(midi, wav)
    said = capsys.readouterr().out
    assert "not sure" in said and "nothing is moved (late=SAMPLES moves it)" in said and pair.offset == 0
    np.testing.assert_array_equal(load_pair(midi, wav, late=40000).audio, audio[40000:])
    assert len(load_pair(midi, wav, late=-100).audio) == len(audio) + 100
    with pytest.raises(InputError, match="late"):
        load_pair(midi, wav, late="40000")


def test_an_offset_is_reported_and_corrected(piano, tmp_path, capsys):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, np.pad(audio, (1323, 0)))
    pair = load_pair(midi, wav)
    said = capsys.readouterr().out
    assert "onsets +30." in said and "jitter 0.0" in said and "moved by -1323 samples (-30.0 ms)" in said
    np.testing.assert_array_equal(pair.audio, audio)
    assert pair.instrument.startswith("own recording") and pair.offset == 1323


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
    midi, wav = saved(tmp_path, np.stack([0 * audio, -audio], axis=1))
    np.testing.assert_array_equal(load_pair(midi, wav).audio, -audio)
    assert "channel 2 of 2 is used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x[: len(x) // 2], "lasts"),
        (lambda x: 0 * x, "silent"),
        (lambda x: np.where(np.arange(len(x)) == 99, np.nan, x), "not numbers"),
        (lambda x: x[:0], "has no samples"),
    ],
)
def test_pairs_that_cannot_teach_are_refused(piano, tmp_path, change, says):
    midi, wav = saved(tmp_path, change(piano.render(NOTES)))
    with pytest.raises(InputError, match=says):
        load_pair(midi, wav)


@pytest.mark.parametrize("rate", [22050, 48000, 88200, 96000])
def test_other_rates_are_resampled_in_time(piano, tmp_path, capsys, rate):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, soxr.resample(audio, 44100, rate, "VHQ"), rate=rate)
    pair = load_pair(midi, wav)
    said = capsys.readouterr().out
    assert f"{rate} Hz: resampled to 44100 Hz" in said and ("nothing above 11" in said) == (rate == 22050)
    assert pair.offset == 0 and abs(len(pair.audio) - len(audio)) < 3
    low = scipy.signal.butter(8, 9000, fs=44100, output="sos")
    ours, theirs = (scipy.signal.sosfiltfilt(low, x[: len(audio) - 9]) for x in (pair.audio, audio))
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


def test_a_dc_offset_is_removed_and_said(piano, tmp_path, capsys):
    audio = piano.render(NOTES)
    midi, wav = saved(tmp_path, audio + np.float32(0.02))
    np.testing.assert_allclose(load_pair(midi, wav).audio, audio - audio.mean(), atol=1e-6)
    assert "a DC offset of 0.0200 is removed" in capsys.readouterr().out


def test_audio_without_readable_onsets_says_so_and_is_left_where_it_is(tmp_path, capsys):
    t = np.arange(60 * 44100) / 44100
    midi, wav = saved(tmp_path, (0.1 * np.sin(2 * np.pi * 100 * t)).astype(np.float32), NOTES[:3])  # too few to tell
    pair = load_pair(midi, wav)
    assert "not sure" in capsys.readouterr().out and pair.offset == 0


@pytest.mark.parametrize("moved_by", [0, 15])
def test_a_target_is_moved_like_the_training_pair(piano, tmp_path, moved_by):
    """Within 5 ms the training pair's own lateness counts: estimates differ by the attacks of the piece."""
    audio = piano.render(NOTES)
    soundfile.write(tmp_path / "target.wav", np.pad(audio, (900 + moved_by, 0)), 44100, subtype="FLOAT")
    notes, target = read_target(tmp_path / "target.wav", NOTES, 900)
    np.testing.assert_array_equal(target[: len(audio)], np.pad(audio, (moved_by, 0))[: len(audio)])
    assert notes == NOTES
    soundfile.write(tmp_path / "target.wav", np.pad(audio, (9000, 0)), 44100, subtype="FLOAT")
    assert len(read_target(tmp_path / "target.wav", NOTES, 900)[1]) == pytest.approx(len(audio), abs=60)
    assert len(read_target(tmp_path / "target.wav", NOTES, 900, late=0)[1]) == len(audio) + 9000


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


def test_the_recording_of_another_piece_is_refused_unless_trusted(piano, tmp_path, capsys):
    """Even one that has the same onsets."""
    other = [Note(note.start, note.end, 55 + (note.pitch * 7) % 16, note.velocity) for note in NOTES]
    for notes, sounding in ((NOTES, other), (NOTES, bwv846_prelude()[:300]), (bwv847_fugue(), bwv846_prelude())):
        midi, wav = saved(tmp_path, np.pad(piano.render(sounding), (0, 60 * 44100)), notes)
        with pytest.raises(InputError, match=r"own.wav is no recording of its MIDI file: .*, or set trusted=True"):
            load_pair(midi, wav)
        with pytest.raises(InputError, match="no recording"):
            read_target(wav, notes, 0)
    assert load_pair(midi, wav, trusted=True).offset == 0
    assert "trusted, although" in capsys.readouterr().out


@pytest.mark.parametrize("instrument", ["piano", "organ"])
def test_dense_music_is_a_recording_of_its_notes(piano, instrument):
    notes = performance(seed=5)[:600] if instrument == "piano" else bwv846_prelude()[:300]
    audio = piano.render(notes) if instrument == "piano" else tones(notes, lambda f, t, _: organ(f, t))
    match = match_score(audio, notes)
    assert match.fits and match.clearness > 1.4 * match.rival and abs(match.lag) < 0.1 and match.semitones == 0


def organ(frequency, t):
    return np.minimum(1, t / 0.02) * sum(np.sin(2 * np.pi * h * frequency * t) for h in (1, 2, 4))


@pytest.mark.parametrize("by", [-0.1, 0.1, 4.5, 5.5])
def test_a_pair_misaligned_by_much_is_put_right_and_said(piano, tmp_path, capsys, by):
    audio, samples = piano.render([Note(n.start + 0.2, n.end + 0.2, n.pitch) for n in NOTES]), round(by * 44100)
    notes = [Note(n.start + 0.2, n.end + 0.2, n.pitch) for n in NOTES]
    midi, wav = saved(
        tmp_path, np.pad(audio, (samples, 0)) if samples > 0 else np.pad(audio[-samples:], (0, 9999)), notes
    )
    pair = load_pair(midi, wav)
    assert f"moved by {-pair.offset} samples" in capsys.readouterr().out
    assert pair.offset == samples
    midi, wav = saved(tmp_path, np.pad(piano.render(bwv847_fugue()), (32 * 44100, 0)), bwv847_fugue())
    with pytest.raises(InputError, match="which starts within 30 s of it"):
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
    match = match_score(tones(NOTES, sound), NOTES)
    assert match.fits and match.semitones == 0


def test_noise_and_too_few_notes_fit_nothing(piano):
    chords = [Note(0.5 * i, 0.5 * i + 1.5, p + i % 5) for i in range(1, 30) for p in (40, 60, 64, 67)]
    noise = np.random.default_rng(0).standard_normal(16 * 44100).astype(np.float32)
    assert not match_score(noise, chords).fits
    assert not match_score(np.zeros(16 * 44100, np.float32), chords).fits
    assert not match_score(noise[:5000], chords).fits and not match_score(noise, [Note(0, 1, 60)]).fits


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
    timing = measure_alignment(audio, notes)
    assert timing.offset_ms == pytest.approx(1000 * by, abs=1.0)
    assert timing.samples == (0 if timing.doubt else samples)


@pytest.mark.parametrize("semitones, says", [(-12, "12 semitones lower"), (12, "12 semitones higher")])
def test_a_transposed_recording_is_said(piano, tmp_path, capsys, semitones, says):
    notes = bwv846_prelude()[:120]
    midi, wav = saved(tmp_path, piano.render([replace(n, pitch=n.pitch + semitones) for n in notes]), notes)
    load_pair(midi, wav)
    assert f"its notes sound {says} than its MIDI file's: " in capsys.readouterr().out
    midi, wav = saved(tmp_path, piano.render(notes), notes)
    load_pair(midi, wav)
    assert "semitones" not in capsys.readouterr().out


@pytest.mark.parametrize(("lag", "semitones"), [(0.0, 0), (13.0, 11)])
def test_a_scale_is_not_taken_for_another_interval_later(monkeypatch, lag, semitones):
    """A marimba's chromatic scale: eleven steps later and as many semitones higher it seems to fit better."""
    clearness = {0: 10.5, 11: 14.5}

    def matched(rises, notes, by):
        return score_match.Match(13.2 if by == 11 else lag, 1.0, clearness.get(by, 3.0), 2.0, 1.0, by)

    monkeypatch.setattr(score_match, "_match", matched)
    assert match_score(np.zeros(44100, np.float32), [Note(0.0, 0.5, 60)]).semitones == semitones


@pytest.mark.parametrize("semitones", [-3, 1, 4, 7])
def test_a_recording_too_far_off_is_refused_with_its_transposition(piano, tmp_path, semitones):
    notes = bwv846_prelude()[:120]
    midi, wav = saved(tmp_path, piano.render([replace(n, pitch=n.pitch + semitones) for n in notes]), notes)
    way = "higher" if semitones > 0 else "lower"
    with pytest.raises(InputError, match=f"its notes sound {abs(semitones)} semitones {way} than its MIDI file's"):
        load_pair(midi, wav)


def test_the_map_shows_which_pitch_begins_when():
    audio = tones([Note(1.0, 2.0, 60), Note(1.5, 2.0, 67)], lambda f, t, _: np.exp(-3 * t) * np.sin(2 * np.pi * f * t))
    rises = onset_map(audio)
    for pitch, at in ((60, 1.0), (67, 1.5)):
        row = round(at * 44100 / HOP) - LAG
        assert rises[row].argmax() in (pitch - LOWEST, pitch - 12 - LOWEST)  # of a sine, an octave below too
        assert abs(int(rises[:, pitch - LOWEST].argmax()) - row) <= 3


@pytest.mark.parametrize("ppm", [-200, 0, 50])
def test_a_drifting_recording_is_told_from_a_jittering_one(piano, ppm, tmp_path, capsys):
    notes = scale_sequence(55, 66, repetitions=3, longest=0.6, sustained=0)
    timing, drifted = paced(piano, notes, 1 + ppm * 1e-6)
    assert timing.pace - 1 == pytest.approx(ppm * 1e-6, rel=0.05, abs=1e-9)
    midi, wav = saved(tmp_path, drifted, notes)
    pair = load_pair(midi, wav)
    said = {-200: "it runs 0.0200% fast", 0: "", 50: "it runs 0.0050% slow"}[ppm]
    assert said in (told := capsys.readouterr().out) and ("stretched" in told) == bool(ppm)
    assert pair.notes[-1].start == pytest.approx(notes[-1].start * (1 + ppm * 1e-6), abs=1e-4)
    assert measure_alignment(piano.render(moved(notes, 0.0, 0.002)), notes).pace == 1


def paced(piano, notes, pace):
    """Return the alignment, and the sound of notes that runs `pace` times as long."""
    audio = np.pad(piano.render(notes), (0, 44100))
    slower = np.interp(np.arange(int(len(audio) * pace) - 4410) / pace, np.arange(len(audio)), audio).astype(np.float32)
    return measure_alignment(slower, notes), slower


@pytest.mark.parametrize("pace", [0.99, 0.997, 1.003, 1.01])
def test_a_wrong_pace_is_found_and_put_right(piano, pace, tmp_path, capsys):
    notes = [replace(note, start=note.start + 0.2, end=note.end + 0.2) for note in bwv847_fugue()]
    timing, slower = paced(piano, notes, pace)
    assert not timing.doubt and timing.pace == pytest.approx(pace, abs=1e-4)
    midi, wav = saved(tmp_path, slower, notes)
    pair = load_pair(midi, wav)
    said = re.search(r"it runs ([0-9.]+)% (slow|fast)", capsys.readouterr().out)
    assert float(said[1]) == pytest.approx(100 * abs(pace - 1), abs=0.01) and said[2] == (
        "slow" if pace > 1 else "fast"
    )
    assert max(abs(a.start - b.start * pace) for a, b in zip(pair.notes, notes, strict=True)) < 0.001


@pytest.mark.parametrize("pace", [0.99, 1.01])
def test_a_player_of_another_pace_is_not_transposed(piano, pace):
    notes = bwv846_prelude()
    audio = piano.render([replace(note, start=note.start * pace, end=note.end * pace) for note in notes])
    match = match_score(audio, notes)
    assert match.fits and match.semitones == 0 and octaves_off(audio, notes, match) == 0
    assert octaves_off(audio, notes, replace(match, pace=1.0)) == -12  # read at other times, it would be


@pytest.mark.parametrize("pace", [0.99, 1.003])
def test_a_wrong_pace_is_put_right_where_the_offset_is_not_sure(piano, pace, tmp_path, capsys):
    notes = performance(seed=4, velocity=90)[:900]
    timing, slower = paced(piano, notes, pace)
    midi, wav = saved(tmp_path, slower, notes)
    pair = load_pair(midi, wav)
    assert "stretched" in capsys.readouterr().out and timing.pace == pytest.approx(pace, abs=2e-4)
    assert max(abs(a.start - b.start * pace) for a, b in zip(pair.notes, notes, strict=True)) < 0.02


@pytest.mark.parametrize(
    "notes",
    [even([60] * 40, 0.5), even([60, 67] * 10, 0.5), even([48, 55, 52, 55] * 12, 0.2), even([60, 61] * 30, 0.12)],
    ids=["one key", "two keys", "a figure", "a trill"],
)
def test_notes_that_repeat_are_taken_and_their_rate_is_told_by_the_tuning(piano, notes, tmp_path, capsys):
    audio = piano.render(notes)
    midi, wav = saved(tmp_path, audio, notes)
    for trusted in (False, True):
        assert len(load_pair(midi, wav, trusted=trusted).audio) == len(audio)
    assert "resampled" not in capsys.readouterr().out
    midi, wav = saved(tmp_path, soxr.resample(audio, 44100, 48000, "VHQ"), notes)
    assert abs(len(load_pair(midi, wav).audio) - len(audio)) < 10
    assert "those of 48000 Hz in a file that says otherwise: resampled" in capsys.readouterr().out


@pytest.mark.parametrize("rates", [(44100, 48000), (48000, 44100)])
def test_a_file_that_says_a_wrong_rate_is_put_right(piano, rates, tmp_path, capsys):
    """A regular arpeggio fits at every note but for its pitches."""
    own, said = rates
    notes = even([p for _ in range(8) for p in (48, 52, 55, 60, 64, 60, 55, 52)], 0.3)
    audio = piano.render(notes)
    midi, wav = saved(tmp_path, soxr.resample(audio, 44100, own, "VHQ"), notes, rate=said)
    pair = load_pair(midi, wav)
    assert "in a file that says otherwise: resampled" in capsys.readouterr().out and pair.offset == 0
    assert abs(len(pair.audio) - len(audio)) < 10
    assert np.corrcoef(pair.audio[:500_000], audio[:500_000])[0, 1] > 0.95
