"""f0 and B are found again in tones that were made with them."""

import numpy as np
import pytest

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.instruments.tuning import estimate_tuning, partial_frequencies, solo_stretches, typical_inharmonicity
from nnss_utils.midi import Note, midi_to_hz


def string(f0, b, seconds=1.2, noise=1e-4):
    """A decaying inharmonic tone with a little noise."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rng = np.random.default_rng(0)
    tone = sum(
        np.exp(-(2 + h) * t) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) / h
        for h, f in enumerate(partial_frequencies(f0, b), start=1)
    )
    return (0.1 * tone + noise * rng.standard_normal(len(t))).astype(np.float32)


@pytest.mark.parametrize("pitch", [28, 36, 48, 60, 72, 84])
@pytest.mark.parametrize("detune", [-20, 15])
def test_f0_and_b_of_a_synthetic_key(pitch, detune):
    f0 = midi_to_hz(pitch + detune / 100)
    b = 1.2 * typical_inharmonicity(pitch)
    audio = np.concatenate([np.zeros(4410, np.float32), string(f0, b)])
    tuning = estimate_tuning(audio, [Note(0.1, 1.3, pitch)], pitch, pitch)
    assert tuning.f0[0] == pytest.approx(f0, rel=3e-4)
    assert tuning.inharmonicity[0] == pytest.approx(b, rel=0.1)
    first = tuning.partials(pitch)[:5]
    np.testing.assert_allclose(first, partial_frequencies(f0, b)[:5], rtol=4e-4)


def test_keys_never_heard_alone_take_their_tuning_from_others():
    audio = np.concatenate([string(midi_to_hz(p), typical_inharmonicity(p)) for p in (58, 60, 62)])
    notes = [Note(1.2 * i, 1.2 * i + 1.1, p) for i, p in enumerate((58, 60, 62))]
    tuning = estimate_tuning(audio, notes, 57, 63)
    assert (tuning.low, tuning.high) == (57, 63)
    for pitch in (57, 59, 61, 63):
        assert tuning.partials(pitch)[0] == pytest.approx(midi_to_hz(pitch))
        assert tuning.inharmonicity[pitch - 57] == pytest.approx(typical_inharmonicity(pitch), rel=0.2)


def test_keys_outside_the_tuning_are_refused():
    tuning = estimate_tuning(np.zeros(44100, np.float32), [Note(0, 1, 60)], 60, 60)
    for pitch in (59, 61):
        with pytest.raises(InputError, match=rf"pitch {pitch} is outside 60\.\.60"):
            tuning.partials(pitch)


def test_silence_gives_the_usual_tuning():
    tuning = estimate_tuning(np.zeros(44100, np.float32), [Note(0, 1, 60)], 60, 60)
    assert tuning.f0[0] == pytest.approx(midi_to_hz(60), rel=0.03)
    assert np.all(np.isfinite(tuning.partials(60)))


def test_partials_follow_the_law_up_to_20_khz():
    f = partial_frequencies(100.0, 1e-4)
    h = np.arange(1, len(f) + 1)
    np.testing.assert_allclose((f / h) ** 2, 100.0**2 * (1 + 1e-4 * h**2))
    assert f[-1] <= 20_000 < (len(f) + 1) * 100 * np.sqrt(1 + 1e-4 * (len(f) + 1) ** 2)


def test_the_loneliest_stretch_has_no_other_note():
    notes = [Note(0, 1, 60), Note(0.5, 1.5, 64), Note(2, 2.4, 60), Note(3, 3.2, 60)]
    stretches = solo_stretches(notes)
    assert stretches[60] == pytest.approx((0.02, 0.5))
    assert stretches[64] == pytest.approx((1.0, 1.5))
