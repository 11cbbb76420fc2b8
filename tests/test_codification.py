"""Both codifications against their formulas."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils import SAMPLE_RATE
from nnss_utils.evaluation import piece
from nnss_utils.evaluation.piece import codify_mix
from nnss_utils.instruments.tuning import Tuning, partial_frequencies
from nnss_utils.midi import Note, midi_to_hz
from nnss_utils.model.codification import (
    Codification,
    ToneTable,
    codify,
    harmonic_tone,
    inharmonic,
    release_fade,
    two_sines,
)

TUNING = Tuning(58, tuple(midi_to_hz(p) for p in range(58, 65)), (3e-4,) * 7, ((),) * 7)


def model_with(code: Codification) -> SimpleNamespace:
    """Return what `codify_mix` needs of a model."""
    return SimpleNamespace(settings=SimpleNamespace(codification=code), tuning=TUNING)


def test_two_sines_are_the_seeds_formula():
    code = two_sines([Note(0.01, 0.5, 60, 90)], 30_000)[0]
    t = np.arange(30_000 - 441)
    held = round(0.49 * SAMPLE_RATE)
    expected = np.sin(np.pi * t * 60 / (127 * 1.5)) + np.sin(np.pi * t * (1 - t / (5 * SAMPLE_RATE)))
    np.testing.assert_allclose(code[441:][:held], np.minimum(expected, 1)[:held], atol=1e-6)
    assert not code[:441].any() and not code[441 + held :].any()


def test_two_sines_of_note_60_sound_at_6945_hz():
    code = two_sines([Note(0, 1, 60)], SAMPLE_RATE)[0]
    spectrum = np.abs(np.fft.rfft(code))
    assert np.argmax(spectrum) == pytest.approx(6945, abs=2)


def test_the_sum_is_clipped_at_one_and_velocity_is_optional():
    notes = [Note(0, 1, 60, 64), Note(0, 1, 64, 64)]
    assert two_sines(notes, 44100).max() == 1
    assert two_sines(notes, 44100).min() < -1.5
    single = two_sines(notes[:1], 44100, velocity=True)
    np.testing.assert_allclose(single.min(), two_sines(notes[:1], 44100).min() * 64 / 127, rtol=1e-5)


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 100_000])
def test_the_tone_is_the_sum_of_its_partials_with_phase_zero(samples):
    f = partial_frequencies(261.6, 3.2e-4)
    t = np.arange(samples) / SAMPLE_RATE
    expected = sum(np.sin(2 * np.pi * fh * t) / np.sqrt(h) for h, fh in enumerate(f, start=1))
    tone = harmonic_tone(f, samples)
    assert len(tone) == samples and tone[0] == 0
    np.testing.assert_allclose(tone, expected, atol=2e-5)


def test_partials_reach_20_khz():
    tone = harmonic_tone(TUNING.partials(60), SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(SAMPLE_RATE)))
    top = TUNING.partials(60)[-1]
    assert 19_000 < top <= 20_000
    near = slice(round(top) - 100, round(top) + 100)
    assert np.argmax(spectrum[near]) + near.start == pytest.approx(top, abs=2)
    assert spectrum[round(top) + 100 :].max() < 0.01 * spectrum[near].max()


def test_channels_of_a_note():
    code = Codification(release=0.1)
    tone, impulse = inharmonic([Note(0.5, 1.0, 60)], 2 * SAMPLE_RATE, TUNING, code)
    start, held = SAMPLE_RATE // 2, SAMPLE_RATE // 2
    assert {int(i): float(impulse[i]) for i in np.flatnonzero(impulse)} == pytest.approx(
        {start: 1.0, start + held: -0.2}
    )
    assert not tone[: start + 1].any() and not tone[start + held + 4410 :].any()
    plain = harmonic_tone(TUNING.partials(60), held)
    np.testing.assert_array_equal(tone[start : start + held], plain)
    fade = release_fade(0.1)
    assert fade[0] == 1 and fade[-1] < 1e-5 and np.all(np.diff(fade) < 0)


@settings(max_examples=60, deadline=None)
@given(first=st.integers(-9000, 30_000), width=st.integers(1, 9000), held=st.integers(1, 12_000))
def test_a_part_of_a_voice_is_a_slice_of_the_whole(first, width, held):
    note = Note(0, held / SAMPLE_RATE, 60)
    table = ToneTable(TUNING, [note], Codification(release=0.05))
    whole = np.zeros(60_000, np.float32)
    voice = table.voice(note)
    whole[10_000 : 10_000 + len(voice)] = voice
    part = np.zeros(width, np.float32)
    table.copy(part, 60, held, first)
    np.testing.assert_array_equal(part, whole[10_000 + first :][:width])


@pytest.mark.parametrize("kind", ["inharmonic", "two_sines"])
def test_stretches_are_slices_of_the_whole(kind):
    notes = [Note(0.013, 0.7, 60), Note(0.6, 1.4, 64, 50), Note(2.0, 2.5, 58)]
    code = Codification(kind, velocity=True, release=0.2)
    whole = codify(notes, 3 * SAMPLE_RATE, code, TUNING)
    for first in (0, 20_000, 70_001):
        np.testing.assert_allclose(codify(notes, 30_000, code, TUNING, first), whole[:, first:][:, :30_000], atol=1e-5)
    np.testing.assert_allclose(codify_mix(notes, 3 * SAMPLE_RATE, model_with(code)), whole.sum(axis=0), atol=1e-5)


def test_notes_cut_by_the_end_and_no_notes():
    code = Codification()
    assert inharmonic([Note(0, 5, 60)], 1000, TUNING, code).shape == (2, 1000)
    assert not codify([], 1000, code, TUNING).any()
    assert two_sines([Note(1, 2, 60)], 1000).shape == (1, 1000)


def by_hand(notes, samples, kind, code):
    """Return the codification of notes as its definition says it, one note after the other, from sample 0 on."""
    if kind == "two_sines":
        return two_sines(notes, samples, velocity=code.velocity)
    out = np.zeros((2, samples + 10 * SAMPLE_RATE))
    for note in notes:
        start, held = round(note.start * SAMPLE_RATE), round((note.end - note.start) * SAMPLE_RATE)
        fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(round(code.release * SAMPLE_RATE)) / (code.release * SAMPLE_RATE))
        gain = note.velocity / 127 if code.velocity else 1
        voice = gain * harmonic_tone(TUNING.partials(note.pitch), held + len(fade))
        voice[held:] *= fade
        out[0, start : start + len(voice)] += voice
        out[1, start] += gain
        out[1, start + held] -= 0.2 * gain
    return out[:, :samples]


@pytest.mark.parametrize("kind", ["inharmonic", "two_sines"])
@pytest.mark.parametrize("velocity", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9000), st.integers(1, 6000), st.integers(58, 64), st.integers(1, 127)),
        max_size=4, unique_by=lambda row: row[0],
    ),
    first=st.integers(0, 16_000),
    samples=st.integers(1, 12_000),
)  # fmt: skip
def test_any_stretch_of_any_notes_is_what_the_definition_says(kind, velocity, rows, first, samples):
    notes = [Note(s / SAMPLE_RATE, (s + d) / SAMPLE_RATE, p, v) for s, d, p, v in rows]
    code = Codification(kind, velocity=velocity, release=0.05)
    expected = by_hand(notes, first + samples, kind, code)[:, first:]
    np.testing.assert_allclose(codify(notes, samples, code, TUNING, first), expected, atol=1e-4)


def test_nothing_is_heard_beyond_a_stretch_and_its_release():
    """A note counts from its first sample to the last of its release; at both edges the next sample is silent."""
    code, note = Codification(release=0.01, impulse="none"), Note(0.1, 0.2, 60)
    start, end = 4410, 8820 + 441
    assert not codify([note], start, code, TUNING).any() and codify([note], start + 3, code, TUNING).any()
    assert not codify([note], 100, code, TUNING, end).any() and codify([note], 100, code, TUNING, end - 50).any()
    assert not two_sines([Note(0.1, 0.2, 60)], 4410).any()
    assert inharmonic([note], 4410, TUNING, code).shape == (2, 4410)


def test_a_mix_in_stretches_is_the_mix(monkeypatch):
    notes = [Note(0.0, 0.2, 60), Note(0.1, 0.5, 64)]
    whole = codify(notes, 30_000, Codification(), TUNING).sum(axis=0)
    monkeypatch.setattr(piece, "STRETCH", 7000)
    np.testing.assert_allclose(codify_mix(notes, 30_000, model_with(Codification())), whole, atol=1e-5)


def test_a_table_with_a_limit_forgets_and_makes_anew():
    code, lengths = Codification(release=0.01), []
    table = ToneTable(TUNING, [], code, most=3000)
    for pitch, held in ((60, 1000), (62, 1000), (60, 900), (60, 1000), (64, 1000), (62, 200), (62, 2000)):
        table.add([(pitch, held)])
        out = np.zeros((1, held), np.float32)
        table.copy_many(out, np.array([pitch]), np.array([held]), np.array([0]))
        np.testing.assert_allclose(out[0], harmonic_tone(TUNING.partials(pitch), held), atol=1e-5)
        lengths.append(len(table._all))
    assert lengths == [1441, 2882, 2882, 2882, 1441, 2082, 2441]
    assert not release_fade(0.01).flags.writeable
    exact = ToneTable(TUNING, [], code, most=2882)
    exact.add([(60, 1000)])
    exact.add([(62, 1000)])
    assert len(exact._all) == 2882  # as much as may be kept is kept
