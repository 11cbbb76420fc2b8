"""A voice's inputs: the impulse's closed form and its factors, tones copied many at a time."""

import numpy as np
import pytest
from keras import ops

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import carriers
from nnss_utils.dsp.stft import Spectral, stft
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import Note
from nnss_utils.model.codification import Codification, ToneTable
from nnss_utils.model.inputs import Voices, impulse_amplitude, impulse_channel, impulse_factors
from nnss_utils.model.pairs import as_pairs, outer_product
from nnss_utils.model.settings import make_settings

FAR = np.array([[10**7]])  # a note-off that no frame hears


def on_impulse(positions) -> np.ndarray:
    """Return the channel (frames, bins) of frames that have the note-on at sample `positions` of them."""
    return impulse_channel(-np.array([positions]), FAR, make_settings())[0]


def test_the_impulse_has_its_own_spectrum_and_then_rings():
    spectral = Spectral()
    positions = np.array([2047, 1500, 1024])
    for position, row in zip(positions, on_impulse(positions), strict=True):
        impulse = np.zeros(2048, np.float32)
        impulse[position] = 1
        np.testing.assert_allclose(row, stft(impulse, spectral, pad=False)[0], atol=1e-4)
    later = on_impulse([1024 - round(0.3 * SAMPLE_RATE)])
    np.testing.assert_allclose(np.abs(later), np.exp(-1), rtol=1e-3)
    positions = np.array([0, -100, -5000])
    turned = on_impulse(positions) * np.exp(2j * np.pi * np.outer(positions, np.arange(1024)) / 2048)
    assert np.abs(np.angle(turned)).max() < 1e-2  # each bin goes on at its own frequency
    assert not on_impulse([2048, 5000]).any()
    assert not impulse_amplitude(np.array([-(10**6)]), spectral, 0.3).any()  # long gone


@pytest.mark.parametrize("frame_length", [16, 96, 2048])
def test_carriers_are_complex_exponentials(frame_length):
    spectral = Spectral(frame_length=frame_length, frame_step=4)
    starts = np.array([0, 1, 77, -5, 123_456_789])
    k = np.arange(spectral.bins)
    expected = np.exp(-2j * np.pi * (np.outer(starts, k) % frame_length) / frame_length)
    np.testing.assert_allclose(carriers(spectral, starts), expected, atol=1e-6)


@pytest.mark.parametrize(
    "change", [{}, {"frame_length": 96, "frame_step": 8}, {"impulse": "none"}, {"impulse": "frame"}]
)
def test_the_network_multiplies_the_factors_out_as_numpy_does(change):
    settings = make_settings(**change)
    starts, held = np.array([[-30, 0, 900], [-90, 500, 3000]]), np.array([[400], [2900]])
    coarse, fine = (as_pairs(factor) for factor in impulse_factors(starts, held, settings))
    pairs = ops.convert_to_numpy(outer_product(coarse, fine, settings.spectral.bins))
    expected = impulse_channel(starts, held, settings)
    assert pairs.shape == (2, 3, settings.spectral.bins, 2)
    np.testing.assert_allclose(np.ascontiguousarray(pairs).view(np.complex64)[..., 0], expected, atol=1e-6)


def test_many_tones_are_copied_as_each_alone():
    tuning = Tuning(60, (261.6, 277.2), (3e-4, 3e-4), ((), ()))
    notes = [Note(0.0, 0.3, 60), Note(0.5, 0.6, 61), Note(1.0, 1.05, 60)]
    table, voices = ToneTable(tuning, notes, Codification(release=0.05)), Voices.of(notes)
    rows = np.repeat(np.arange(3), 40)
    first = np.random.default_rng(0).integers(-2500, 16000, len(rows))
    many, single = np.zeros((2, len(rows), 2048), np.float32)
    table.copy_many(many, voices[rows].pitch, voices[rows].held, first)
    for out, i, at in zip(single, rows, first, strict=True):
        table.copy(out, notes[i].pitch, int(voices.held[i]), int(at))
    np.testing.assert_array_equal(many, single)
    assert many.any(axis=1).mean() > 0.5
