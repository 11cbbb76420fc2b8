"""Training examples are what they claim to be: the pair's own spectra at random samples."""

import numpy as np
import pytest
from conftest import small_settings

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import heterodyne
from nnss_utils.dsp.stft import Spectral, stft
from nnss_utils.errors import InputError
from nnss_utils.instruments.pair import make_pair
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.midi import Note, samples_of
from nnss_utils.model.codification import codify
from nnss_utils.model.pairs import outer_product
from nnss_utils.model.settings import make_settings
from nnss_utils.training.dataset import copy_segments, holdout_blocks, holdout_notes, make_dataset
from nnss_utils.training.train import train


def sampler(pair, **changes):
    settings = make_settings(**{"architecture": "mask_dense", "batch": 64, "holdout": 0.1} | changes)
    return make_dataset(pair.notes, pair.audio, settings, estimate_tuning(pair.audio, pair.notes, 60, 64))


def complex_of(pairs):
    return pairs.view(np.complex64)[..., 0]


def test_batches_follow_from_their_number(pair):
    a, b = sampler(pair), sampler(pair)
    np.testing.assert_array_equal(a.batch(3).target, b.batch(3).target)
    assert not np.array_equal(a.batch(3).target, a.batch(4).target)
    assert not np.array_equal(a.batch(3).target, sampler(pair, seed=1).batch(3).target)


def test_targets_are_the_spectra_of_the_audio(pair):
    draw = sampler(pair)
    first = draw.positions(0)[:, 0]
    target = complex_of(draw.batch(0).target)[:, 0]
    spectral = Spectral()
    padded = np.pad(pair.audio, 4096)
    for at, row in list(zip(first, target, strict=True))[:10]:
        frame = padded[at + 4096 : at + 4096 + 2048]
        np.testing.assert_allclose(row, stft(frame, spectral, pad=False)[0] * spectral.scale, atol=1e-6)


def test_validation_is_never_drawn_in_training(pair):
    draw = sampler(pair, architecture="mask_blstm", frames=4)
    blocks = holdout_blocks(len(pair.audio), 0.1, draw.width)
    assert sum(high - low for low, high in blocks) == pytest.approx(0.1 * len(pair.audio), rel=0.01)
    for number in range(5):
        first = draw.positions(number)
        for low, high in blocks:
            assert not np.any((first < high) & (first + draw.width > low))
    _, first = draw._draw(np.random.default_rng(0), validation=True)
    assert all(any(low <= at and at + draw.width <= high for low, high in blocks) for at in first)
    assert sampler(pair, holdout=0.0).validation_batch() is None


def test_a_batch_has_frames_before_around_and_long_after_onsets(pair):
    draw = sampler(pair, batch=64, frames=8)
    note, first = draw._draw(np.random.default_rng(0), validation=False)
    since = (first + 1024 - draw.starts[note, None]) / SAMPLE_RATE
    assert np.mean(since < 0) > 0.05 and np.mean(np.abs(since) < 0.02) > 0.1 and np.mean(since > 0.3) > 0.15
    assert np.all(since > -0.024) and np.all(since * SAMPLE_RATE < draw.held[note, None] + draw.release + 2048)


def test_frames_of_a_row_are_of_one_note_at_any_sample(pair):
    draw = sampler(pair, architecture="mask_keyed", batch=16, frames=8)
    batch = draw.batch(0)
    assert batch.target.shape == (16, 8, 1024, 2) and batch.inputs["features"].shape[:2] == (16, 8)
    assert np.all(batch.inputs["pitch"] == batch.inputs["pitch"][:, :1])
    assert len(np.unique(draw.positions(0) % 256)) > 50


def test_notes_held_out_are_never_drawn_and_never_a_keys_longest(pair):
    draw = sampler(pair, architecture="mask_keyed", batch=64, holdout=0.2)
    assert 0 < draw.held_out.sum() <= 0.2 * len(draw.notes) + 1
    for validation in (False, True):
        note, _ = draw._draw(np.random.default_rng(0), validation=validation)
        assert np.all(draw.held_out[note] == validation)
    alone = [Note(i, i + 0.2 + 0.1 * (i % 3 == 1), 60 + i // 3) for i in range(12)]
    rows, held = np.array([(note.pitch, samples_of(note)[1]) for note in alone]).T
    kept = [note for note, out in zip(alone, holdout_notes(rows, held, 0.5), strict=True) if not out]
    assert {note.pitch for note in kept if note.duration > 0.25} == set(range(60, 64)) and len(kept) < 10


def test_sequences_of_overlapping_notes_become_voices_that_add_up(piano):
    notes = [Note(0.2, 0.9, 60), Note(0.3, 0.8, 64), Note(0.35, 1.0, 62), Note(2.0, 2.5, 60)]
    pair = make_pair(notes, piano)
    draw = sampler(pair, batch=32, frames=4, holdout=0.0, release=0.3)
    assert draw.mixed
    batch = draw.batch(0)
    counts = np.bincount(batch.inputs["example"][batch.inputs["gain"] > 0], minlength=32)
    assert counts.max() >= 2 and len(batch.target) == 32
    tones = complex_of(batch.inputs["tone"])[:, 0]
    busiest = int(np.argmax(counts))
    mix = tones[(batch.inputs["example"] == busiest) & (batch.inputs["gain"] > 0)].sum(axis=0)
    pitches = batch.inputs["pitch"][(batch.inputs["example"] == busiest) & (batch.inputs["gain"] > 0), 0]
    assert len(set(pitches)) == counts[busiest] and np.abs(mix).max() > 0


def test_overlapping_notes_of_more_keys_than_a_batch_has_rows_can_be_learnt(piano):
    notes = [Note(0.2 + 0.1 * n, 0.6 + 0.1 * n, 50 + n) for n in range(24)]
    settings = small_settings(name="many_keys", units=4, batch=16, frames=4, steps=2, holdout=0.0)
    assert np.isfinite(train(make_pair(notes, piano), settings).training["train_loss"])


def test_inputs_and_target_are_of_the_same_moment(pair):
    """Sound the codification itself as the target: then the tone input is the target."""
    tuning = estimate_tuning(pair.audio, pair.notes, 60, 64)
    settings = make_settings(architecture="mask_keyed", batch=64, holdout=0.0)
    from nnss_utils.model.codification import inharmonic

    tone = inharmonic(pair.notes, len(pair.audio) + SAMPLE_RATE, tuning, settings.codification)[0]
    draw = make_dataset(pair.notes, tone, settings, tuning)
    assert not draw.mixed
    batch = draw.batch(0)
    np.testing.assert_allclose(batch.inputs["tone"], batch.target, atol=1e-5)


def test_direct_sequences_are_heterodyned_spectra_of_mix_and_audio(pair):
    options = {"architecture": "direct_blstm", "codification": "two_sines", "frames": 6, "batch": 4}
    draw = sampler(pair, **options)
    first = draw.positions(0)
    batch = draw.batch(0)
    assert batch.inputs["codification"].shape == batch.target.shape == (4, 6, 1024, 2)
    spectral = Spectral()
    segment = np.pad(pair.audio, 9000)[first[1] + 9000 :][: 2048 + 5 * 256]
    expected = heterodyne(stft(segment, spectral, pad=False) * spectral.scale, spectral, int(first[1]))
    np.testing.assert_allclose(complex_of(batch.target)[1], expected, atol=1e-5)
    code = np.pad(codify(pair.notes, len(pair.audio), draw.settings.codification, None)[0], 9000)
    mixed = stft(code[first[2] + 9000 :][: 2048 + 5 * 256], spectral, pad=False) * spectral.scale
    np.testing.assert_allclose(
        complex_of(batch.inputs["codification"])[2], heterodyne(mixed, spectral, int(first[2])), atol=1e-5
    )


def channel(batch, name):
    """Return the pairs of a batch's tone or, its factors multiplied out, of its impulse."""
    if name == "tone":
        return batch.inputs["tone"]
    return np.asarray(outer_product(batch.inputs["coarse"], batch.inputs["fine"], batch.inputs["tone"].shape[2]))


def test_oversampled_frames_are_those_of_the_plain_rate(pair):
    plain = sampler(pair, batch=16, holdout=0.0)
    finer = sampler(pair, batch=16, holdout=0.0, oversampling=4, frame_length=8192, frame_step=1024)
    for name in ("tone", "impulse"):
        a, b = channel(plain.batch(0), name), channel(finer.batch(0), name)
        assert a.shape == b.shape
        np.testing.assert_allclose(a[:, :, :900], b[:, :, :900], atol=0.02)
    np.testing.assert_allclose(plain.batch(0).target[:, :, :900], finer.batch(0).target[:, :, :900], atol=1e-3)


def test_segments_are_copied_whole_in_part_or_not_at_all():
    signal = np.arange(1, 11, dtype=np.float32)
    first = np.array([-9, -3, 0, 4, 6, 8, 10, 99])
    out = np.zeros((len(first), 4), np.float32)
    copy_segments(signal, first, out)
    padded = np.pad(signal, 100)
    np.testing.assert_array_equal(out, [padded[f + 100 : f + 104] for f in first])
    copy_segments(signal[:2], first, out[:, :3])  # a signal shorter than a segment


def test_pairs_too_short_for_their_frames_are_refused(piano):
    pair = make_pair([Note(0.0, 0.2, 60)], piano)
    with pytest.raises(InputError, match="too short"):
        sampler(pair, architecture="mask_blstm", frames=512, holdout=0.2).validation_batch()


def test_starts_count_from_the_note(pair):
    draw = sampler(pair, holdout=0.0)
    starts = np.array([samples_of(n)[0] for n in pair.notes])
    first = draw.positions(0).ravel()
    nearest = starts[np.argmin(np.abs(first[:, None] - starts), axis=1)]
    assert np.abs(first - nearest).max() < 2 * SAMPLE_RATE
