"""Single notes by a network and its instrument, and sounds made in stretches."""

import numpy as np
import pytest

from nnss_utils.evaluation import baselines
from nnss_utils.evaluation.single_notes import note_energies, register_snr
from nnss_utils.midi import Note
from nnss_utils.synthesis.voice import VoiceRenderer


def test_energies_of_target_and_error():
    target, prediction = np.array([3.0, 4.0]), np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(note_energies(target, prediction), [25.0, 5.0])


def test_notes_of_any_velocity_have_the_same_snr(model):
    renderer = VoiceRenderer(model)
    rows = [register_snr([Note(0.0, 0.3, pitch, v) for pitch in range(60, 65)], renderer) for v in (1, 64, 127)]
    assert rows[0]["snr_db"] == pytest.approx(rows[2]["snr_db"], abs=0.01) == pytest.approx(rows[1]["snr_db"], abs=0.01)
    assert rows[0]["worst_db"] <= rows[0]["snr_db"] and len(rows[0]["registers"]) == 1
    assert rows[0]["registers"][0] == [60, pytest.approx(rows[0]["snr_db"])]


@pytest.mark.parametrize("extra", [-7, 0, 1, 5000])
def test_stretches_join_without_a_seam(monkeypatch, extra):
    monkeypatch.setattr(baselines, "STRETCH", 10_000)
    sound = np.random.default_rng(0).standard_normal(20_000 + baselines.CROSSFADE + extra).astype(np.float32)
    np.testing.assert_allclose(baselines.in_stretches(np.copy, sound), sound, atol=1e-6)
    np.testing.assert_allclose(baselines.in_stretches(np.add, sound, sound), 2 * sound, atol=1e-6)
