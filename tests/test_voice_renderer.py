"""The player computes what is heard and nothing else: voices are remembered, tails cut, tones bounded."""

import dataclasses
from itertools import chain
from operator import itemgetter

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils.dsp.stft import frame_count, istft, padding
from nnss_utils.errors import InputError
from nnss_utils.instruments.base import velocity_gain
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import Note, samples_of
from nnss_utils.model import forward
from nnss_utils.model.backend import ops
from nnss_utils.model.codification import Codification, ToneTable, harmonic_tone
from nnss_utils.model.inputs import Voices, make_table, voice_inputs
from nnss_utils.model.pairs import as_complex
from nnss_utils.synthesis import voice as voice_module
from nnss_utils.synthesis.inference import Tiling
from nnss_utils.synthesis.render import render
from nnss_utils.synthesis.voice import SoundCache, VoiceRenderer
from nnss_utils.training.train import train


def test_a_voice_is_remembered_and_is_the_piece_s(model):
    player, note = VoiceRenderer(model), Note(0.0, 0.4, 62, 90)
    sound = player.render(note)
    made = len(player.cached)
    np.testing.assert_array_equal(player.render(Note(7.0, 7.4, 62, 90)), sound)
    softer = player.render(Note(7.0, 7.4, 62, 45))  # the pair has one velocity: another changes the gain alone
    np.testing.assert_allclose(4 * softer, sound, atol=1e-6)
    assert len(player.cached) == made
    whole = render([note], model, progress=False)
    np.testing.assert_allclose(whole[: len(sound)], sound, atol=1e-6)
    assert not whole[len(sound) :].any()


def test_a_tail_ends_where_its_key_is_silent(model, monkeypatch):
    note = Note(0.0, 0.3, 61, 127)
    release = round(model.settings.codification.release * 44100)
    held = samples_of(note)[1]
    cut = VoiceRenderer(model)
    short = cut.render(note)
    assert held < len(short) == held + cut.tails[61] <= held + release
    monkeypatch.setattr(voice_module, "FLOOR", 0.0)
    whole = VoiceRenderer(model).render(note)
    assert len(whole) == held + release
    np.testing.assert_allclose(whole[: len(short) - 2048], short[: len(short) - 2048], atol=1e-5)
    assert np.abs(whole[len(short) :]).max(initial=0) < 3e-5  # -90 dB: another length of note than the probe's


def test_memory_for_voices_is_bounded(model, monkeypatch):
    monkeypatch.setattr(voice_module, "CACHE_BYTES", 200_000)
    player = VoiceRenderer(model)
    for tenths in range(1, 11):
        player.render(Note(0.0, 0.05 * tenths, 60))
    assert 1 <= len(player.cached) < 10
    assert sum(voice.nbytes for voice in player.cached.values()) <= 200_000
    assert (60, 100, samples_of(Note(0.0, 0.5, 60))[1]) in player.cached  # the last one is kept


@pytest.mark.parametrize("held", [0.02, 0.06, 0.09, 0.5, 1.3])
def test_a_shared_beginning_and_an_own_release_are_the_whole_voice(model, held):
    """The fast way, a beginning that all notes of a key share, equals the slow one, every frame of the note's own."""
    fast, slow = VoiceRenderer(model), VoiceRenderer(model)
    slow.shared = False
    assert fast.shared
    for pitch in (60, 63):
        ours, theirs = fast.render(Note(0.0, held, pitch)), slow.render(Note(0.0, held, pitch))
        error = np.sum((ours - theirs).astype(np.float64) ** 2)
        assert len(ours) == len(theirs) and error < 1e-10 * np.sum(theirs.astype(np.float64) ** 2)  # -100 dB
    assert (held > 2048 / 44100) == bool(fast.beginnings)


def test_a_model_of_several_velocities_shares_no_beginning(model):
    heard = dataclasses.replace(model.heard, velocities=(20, 100))
    renderer = VoiceRenderer(dataclasses.replace(model, heard=heard))
    renderer.render(Note(0.0, 1.0, 60))
    assert not renderer.shared and not renderer.beginnings


def test_long_voices_are_made_in_tiles_without_a_seam(model, monkeypatch):
    note = Note(0.0, 1.5, 60)
    whole = VoiceRenderer(model).render(note)
    monkeypatch.setattr(Tiling, "of", classmethod(lambda cls, model: cls(3, 0, (5, 1))))
    np.testing.assert_allclose(VoiceRenderer(model).render(note), whole, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"frame_step": 256}, {"architecture": "mask_keyed", "frame_step": 384}])
def test_a_voice_is_the_inverse_stft_of_all_its_frames(pair, options):
    """Tones made in time and tiles added by the compiled function equal NumPy's inverse of the predicted spectra."""
    model = train(pair, small_settings(name="inverse", steps=100, **options))
    settings, spectral, note = model.settings, model.settings.spectral, Note(0.0, 0.7, 61)
    sound = VoiceRenderer(model).render(note)
    starts = spectral.frame_step * np.arange(frame_count(len(sound), spectral))[None] - padding(spectral)
    inputs = voice_inputs(Voices.of([note]), starts, make_table(model.tuning, [note], settings), settings, model.heard)
    inputs = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
    spectra = as_complex(forward.predict_spectra(model.network, inputs, settings, model.output_scale))[0]
    whole = istft(spectra, spectral, pad=False, scaled=True)[padding(spectral) :][: len(sound)]
    whole *= velocity_gain(note.velocity)
    error = np.sum((sound - whole).astype(np.float64) ** 2)
    assert error < 1e-9 * np.sum(whole.astype(np.float64) ** 2)  # -90 dB


def test_of_many_beginnings_the_first_pieces_stay():
    cache, piece = SoundCache(4 * 400, itemgetter(2)), np.zeros(100, np.float32)
    for number in range(4):
        cache.keep((60, 100, number), piece)
    cache.keep((61, 100, 0), piece)
    assert list(cache) == [(60, 100, 0), (60, 100, 1), (60, 100, 2), (61, 100, 0)]
    cache.keep((61, 100, 1), piece)
    cache.keep((61, 100, 9), piece)
    assert list(cache) == [(60, 100, 0), (60, 100, 1), (61, 100, 0), (61, 100, 1)]
    assert cache.held == sum(sound.nbytes for sound in cache.values())


def test_of_many_sounds_the_last_used_stay():
    cache, sound = SoundCache(4 * 400), np.zeros(100, np.float32)
    for key in range(4):
        cache.keep(key, sound)
    cache.move_to_end(0)
    cache.keep(4, sound)
    cache.keep(2, sound)
    assert list(cache) == [3, 0, 4, 2] and cache.held == sum(sound.nbytes for sound in cache.values())


def test_notes_out_of_range_are_refused_and_none_are_none(model):
    with pytest.raises(InputError, match="pitch 80"):
        VoiceRenderer(model).render(Note(0.0, 1.0, 80))
    assert list(VoiceRenderer(model).voices([])) == []


def test_batches_of_tiles_have_few_shapes(model):
    tiling = Tiling.of(model)
    for count in (1, 7, 8, 9, 31, 32, 33, 100):
        batches = list(tiling.batches(list(range(count))))
        assert list(chain.from_iterable(batches)) == list(range(count))
        assert {tiling.padded(len(batch)) for batch in batches} <= set(tiling.rows)
        assert sum(tiling.padded(len(batch)) for batch in batches) - count < min(tiling.rows)


def test_tones_are_lengthened_added_and_forgotten():
    tuning, code = Tuning(60, (261.6, 277.2), (3e-4, 3e-4), ((), ())), Codification(release=0.05)
    table = ToneTable(tuning, [Note(0.0, 0.1, 60)], code, most=40_000)
    table.add([(60, 8000), (61, 5000)])
    for pitch, held in ((60, 8000), (61, 5000)):
        out = np.zeros(3000, np.float32)
        table.copy(out, pitch, held, 1000)
        np.testing.assert_allclose(out, harmonic_tone(tuning.partials(pitch), 4000)[1000:], atol=1e-6)
    table.add([(61, 30_000)])  # more than `most` in all: only what is asked for is left
    assert len(table._all) == 30_000 + len(table.fade)
    out = np.zeros(100, np.float32)
    table.copy(out, 61, 30_000, 20_000)
    assert out.any()
