"""Instruments are sample-exact, deterministic, and sound as their notes say."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.instruments.base import on_grid, velocity_gain
from nnss_utils.instruments.load import load_instrument
from nnss_utils.instruments.pair import make_pair
from nnss_utils.instruments.steinway import equalizing_gains, fade_into_silence, release_curve, rms_db
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.midi import Note, midi_to_hz, samples_of
from nnss_utils.scores import scale_sequence

FONT = Path(os.environ.get("NNSS_SOUNDFONT", "/usr/share/sounds/sf2/FluidR3_GM.sf2"))


@settings(max_examples=25, deadline=None)
@given(start=st.floats(0, 20), pitch=st.integers(21, 108), duration=st.floats(0.01, 1.0))
def test_a_note_at_any_start_is_bit_identical(piano, start, pitch, duration):
    at_zero = piano.render([Note(0.0, duration, pitch)])
    first, held = samples_of(Note(start, start + duration, pitch))
    moved = piano.render([Note(start, start + duration, pitch)])
    if held == samples_of(Note(0.0, duration, pitch))[1]:  # a sum of floats may round to the next sample
        np.testing.assert_array_equal(moved[first:], at_zero)
    assert not moved[:first].any() and moved.dtype == np.float32


def test_all_88_keys_sound_at_their_pitch(piano):
    notes = scale_sequence(21, 108, repetitions=1, shortest=1.0, longest=1.0, sustained=0)
    pair = make_pair(notes, piano)
    tuning = estimate_tuning(pair.audio, pair.notes, 21, 108)
    cents = 1200 * np.log2(np.array(tuning.f0) / midi_to_hz(np.arange(21, 109)))
    assert max(np.abs(cents)) < 60 and max(np.abs(cents[:75])) < 30  # the treble of a piano is stretched


def test_keys_are_equalised(piano):
    levels = [rms_db(piano.keys[p][: 2 * SAMPLE_RATE]) for p in range(21, 109)]
    around = np.convolve(levels, np.ones(9) / 9, mode="valid")
    assert np.abs(np.array(levels[4:-4]) - around).max() < 1.0  # as recorded: 3.4 dB of standard deviation


def test_noise_is_faded_and_the_attack_left_alone():
    rng = np.random.default_rng(0)
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    note = np.exp(-4 * t) * np.sin(2 * np.pi * 500 * t)
    noise = 1e-3 * rng.standard_normal(len(t))
    faded = fade_into_silence((note + noise).astype(np.float32))
    assert np.abs(faded[: SAMPLE_RATE // 10] - note[: SAMPLE_RATE // 10]).max() < 1e-2
    assert np.sqrt(np.mean(faded[-SAMPLE_RATE:] ** 2)) < 1e-5


def test_the_treble_of_no_key_comes_back_after_its_decay(piano):
    highest = scipy.signal.butter(4, (6000, 16000), "bandpass", fs=SAMPLE_RATE, output="sos")
    for pitch in range(21, 109):
        treble = scipy.signal.sosfiltfilt(highest, piano.keys[pitch])[SAMPLE_RATE // 10 :]
        energy = np.mean(treble[: len(treble) // 882 * 882].reshape(-1, 882) ** 2, axis=1) + 1e-16
        rise = energy / np.minimum.accumulate(energy)
        assert rise.max() < 10 ** (25 / 10), pitch


def test_equalising_brings_levels_to_a_smooth_curve():
    levels = -30 + 3 * np.random.default_rng(0).standard_normal(88)
    after = levels + 20 * np.log10(equalizing_gains(levels))
    assert np.abs(np.diff(after)).max() < 0.5


def test_velocity_is_a_gain_and_release_is_natural(piano):
    loud, soft = (piano.render([Note(0, 0.5, 60, v)]) for v in (127, 64))
    np.testing.assert_allclose(soft, loud * velocity_gain(64), atol=1e-7)
    assert velocity_gain(127) == 1 and velocity_gain(64) == pytest.approx((64 / 127) ** 2)
    curve = release_curve(60)
    assert curve[0] == 1 and abs(curve[-1]) < 1e-4 and np.all(np.diff(curve) < 0)
    assert len(release_curve(30)) > len(release_curve(100))  # bass dampers take longer


def test_renders_add_up_and_repeat(piano):
    a, b = Note(0.1, 0.6, 60), Note(0.35, 0.9, 67)
    both = piano.render([a, b])
    alone = np.zeros_like(both)
    for note in (a, b):
        sound = piano.render([note])
        alone[: len(sound)] += sound
    np.testing.assert_array_equal(both, alone)
    np.testing.assert_array_equal(both, piano.render([a, b]))
    assert len(piano.render([])) == 0


def test_notes_beyond_the_recording_just_end(piano):
    assert np.all(np.isfinite(piano.render([Note(0, 30, 108)])))


def test_pitches_outside_the_keyboard_and_unknown_instruments_are_refused(piano):
    with pytest.raises(InputError, match=r"pitch 109 .* 21..108"):
        piano.render([Note(0, 1, 109)])
    for name in ("bosendorfer", 3, "/nowhere/font.sf2"):
        with pytest.raises(InputError):
            load_instrument(name)


def test_grid_keeps_lengths_whatever_the_start():
    moved = on_grid([Note(s, s + 0.5, 60) for s in (0.0, 0.1, 1.234567)], 64)
    spans = [samples_of(n) for n in moved]
    assert len({held for _, held in spans}) == 1 and all(x % 64 == 0 for span in spans for x in span)


@pytest.fixture(scope="module")
def font():
    """FluidR3 by fluidsynth, where both are installed."""
    pytest.importorskip("fluidsynth", reason="fluidsynth is not installed", exc_type=ImportError)
    if not FONT.is_file():
        pytest.skip(f"{FONT} is not there (Debian: fluid-soundfont-gm)")
    return load_instrument(str(FONT))


def test_soundfont_repeats_bit_for_bit_on_its_grid(font):
    notes = [Note(0.1, 0.6, 60), Note(2.1004, 2.6004, 60), Note(3.0, 3.2, 72), Note(4.7, 5.2, 60)]
    pair = make_pair(notes, font)
    starts = [samples_of(n)[0] for n in pair.notes if n.pitch == 60]
    assert all(s % 64 == 0 for s in starts)
    alone = make_pair([Note(0, 0.5, 60)], font).audio
    for start in (starts[0], starts[2]):  # the second one's tail meets the third note
        np.testing.assert_array_equal(pair.audio[start : start + 30_000], alone[:30_000])
    assert np.abs(alone).max() > 0.01
    assert np.abs(alone[-1000:]).max() < 1e-4  # dry: it ends


def test_soundfont_plays_velocity_and_pitch(font):
    loud, soft = (font.render([Note(0, 0.5, 69, v)]) for v in (120, 40))
    assert np.abs(loud).max() > 2 * np.abs(soft).max()
    spectrum = np.abs(np.fft.rfft(loud[:22050], 2**17))
    assert np.argmax(spectrum) * 44100 / 2**17 == pytest.approx(440, abs=3)


def test_a_broken_soundfont_is_refused(font, tmp_path):
    path = tmp_path / "broken.sf2"
    path.write_bytes(b"RIFF nothing")
    with pytest.raises(InputError, match="can't be read"):
        load_instrument(str(path))
