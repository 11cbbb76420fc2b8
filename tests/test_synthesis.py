"""Synthesis: the same note anywhere, blocks that add up to the piece, files written whole and never clipped."""

import numpy as np
import pytest
import soundfile
from conftest import small_settings

from nnss_utils.errors import InputError
from nnss_utils.instruments.wav import write_wav
from nnss_utils.midi import Note
from nnss_utils.synthesis import render as render_module
from nnss_utils.synthesis.render import render, synthesize
from nnss_utils.training import train


def test_a_note_sounds_the_same_wherever_it_stands(model):
    at_zero, later = render([Note(0, 0.4, 60)], model), render([Note(1.2345, 1.6345, 60)], model)
    first = round(1.2345 * 44100)
    np.testing.assert_array_equal(later[first:], at_zero)
    assert not later[:first].any() and np.abs(at_zero).max() > 0.01


def test_voices_add_up_and_alike_notes_are_alike(model):
    notes = [Note(0, 0.4, 60), Note(0.2, 0.6, 64), Note(1.0, 1.4, 60)]
    whole = render(notes, model)
    parts = np.zeros_like(whole)
    for note in notes:
        sound = render([note], model)
        parts[: len(sound)] += sound
    np.testing.assert_allclose(whole, parts, atol=1e-4)


def test_blocks_don_t_change_the_sound(model, monkeypatch):
    notes = [Note(0.5 * i, 0.5 * i + 0.4, 60 + i % 5) for i in range(8)]
    whole = render(notes, model)
    monkeypatch.setattr(render_module, "BLOCK_SECONDS", 0.3)
    blocks = list(synthesize(notes, model))
    assert len(blocks) > 10
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)


def test_velocity_is_the_instruments_gain(model):
    loud, soft = render([Note(0, 0.4, 60, 100)], model), render([Note(0, 0.4, 60, 50)], model)
    np.testing.assert_allclose(soft, loud / 4, rtol=1e-5, atol=1e-9)


def test_it_plays_what_it_learnt(model, piano):
    note = Note(0, 0.4, 62)
    target, prediction = piano.render([note]), render([note], model)
    prediction = prediction[: len(target)]
    assert np.corrcoef(target, prediction[: len(target)])[0, 1] > 0.9


def test_no_notes_give_no_sound_and_wrong_pitches_an_error(model):
    assert len(render([], model)) == round(0.35 * 44100)
    with pytest.raises(InputError, match=r"pitch 80 .* 60..64, the range of the model small"):
        render([Note(0, 1, 60), Note(0, 1, 80)], model)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "mask_blstm", "layers": 1, "units": 16, "batch": 8, "frames": 8},
        {"architecture": "direct_blstm", "layers": 1, "units": 16, "batch": 4, "frames": 8},
        {"architecture": "direct_blstm", "layers": 1, "units": 16, "batch": 4, "frames": 8, "codification": "two_sines",
         "heterodyne": False, "power": 0.125},
        {"oversampling": 2, "frame_length": 4096, "frame_step": 512, "window": "kaiser"},
        {"architecture": "direct_blstm", "layers": 1, "units": 16, "batch": 4, "frames": 8, "oversampling": 2,
         "frame_length": 2048, "frame_step": 512},
    ],
)  # fmt: skip
def test_every_kind_of_network_renders_in_blocks(pair, options, monkeypatch):
    settings = small_settings(name="kind", **{"steps": 2} | options)
    trained = train.train(pair, settings)
    notes = [Note(0.0, 0.7, 60), Note(0.9, 1.4, 64)]
    sound = render(notes, trained)
    assert len(sound) == round(1.75 * 44100) and np.all(np.isfinite(sound)) and sound.any()


def test_a_direct_networks_blocks_join_without_a_seam(pair, monkeypatch):
    options = {"architecture": "direct_blstm", "layers": 1, "units": 16, "batch": 4, "frames": 8, "steps": 2}
    trained = train.train(pair, small_settings(name="seams", **options))
    notes = [Note(0.0, 1.7, 60)]
    whole = render(notes, trained)
    monkeypatch.setattr(render_module, "BLOCK_SECONDS", 0.4)
    parts = render(notes, trained)
    assert np.corrcoef(whole, parts)[0, 1] > 0.99  # the LSTM's memory ends at other frames


@pytest.mark.parametrize(("output", "subtype", "error"), [("16-bit", "PCM_16", 1 / 32767), ("float", "FLOAT", 1e-7)])
def test_wav_files(tmp_path, output, subtype, error):
    blocks = [np.float32([0.1, -0.2]), np.float32([0.3])]
    written = write_wav(tmp_path / "new" / "a.wav", iter(blocks), output)
    data, rate = soundfile.read(written, dtype="float32")
    assert rate == 44100 and soundfile.info(written).subtype == subtype
    np.testing.assert_allclose(data, [0.1, -0.2, 0.3], atol=error)
    assert len(data) == 3 and data.max() == pytest.approx(0.3, abs=error)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.wav"]


def test_a_peak_above_1_is_reported_and_scaled(tmp_path, capsys):
    written = write_wav(tmp_path / "a.wav", np.float32([0.5, -2.0]))
    data, _ = soundfile.read(written)
    np.testing.assert_allclose(data, [0.25, -1.0], atol=1e-4)
    assert "peak 2.00 is above 1; scaled by -6.0 dB" in capsys.readouterr().out
    data, _ = soundfile.read(write_wav(tmp_path / "b.wav", np.float32([0.5, -2.0]), "float"))
    np.testing.assert_array_equal(data, [0.25, -1.0])  # the scale is exactly 1 / 2


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"old")

    def failing():
        yield np.zeros(100, np.float32)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_wav(tmp_path / "a.wav", failing())
    with pytest.raises(InputError, match="not numbers"):
        write_wav(tmp_path / "b.wav", np.float32([np.nan]))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"] and (tmp_path / "a.wav").read_bytes() == b"old"
    with pytest.raises(InputError, match="output"):
        write_wav(tmp_path / "a.wav", np.zeros(3, np.float32), "24-bit")
