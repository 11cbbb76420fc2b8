"""The keyed network, the shipped model's file, and the measures of many pieces."""

import dataclasses
import subprocess

import keras
import numpy as np
import pytest
from conftest import small_settings

from nnss_utils import scores
from nnss_utils.errors import InputError
from nnss_utils.evaluation import metrics, test_set
from nnss_utils.evaluation import piece as evaluation
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.maintenance import pipeline
from nnss_utils.maintenance.pretrained import BITS, rounded, save_small_model
from nnss_utils.midi import Note, read_midi, samples_of, write_midi
from nnss_utils.model import networks, time_basis
from nnss_utils.model.codification import ToneTable
from nnss_utils.model.inputs import Heard, impulse_channel
from nnss_utils.model.missing_keys import borrow_keys, with_all_keys
from nnss_utils.model.model_file import load_model, save_model
from nnss_utils.model.settings import build_network, make_settings
from nnss_utils.paths import PRETRAINED, ROOT, read_json
from nnss_utils.scores import PRELUDE_TEMPO, bwv847_fugue, scale_sequence
from nnss_utils.synthesis.render import render
from nnss_utils.training.dataset import make_dataset

TARGETS = {"correlation": 0.995, "snr_db": 20, "octave_snr_db": 10}


def test_a_keyed_mask_is_curves_times_gate_weighed_by_the_keys_table():
    """The network against its formula in NumPy, with random weights."""
    network = networks.mask_keyed(1, 6, 16)
    rng = np.random.default_rng(0)
    network.set_weights([rng.standard_normal(w.shape).astype(np.float32) * 0.3 for w in network.get_weights()])
    w = {weight.path: weight.numpy() for weight in network.weights}
    on, rest = rng.random((2, 3, time_basis.SINCE_ON.count)), rng.random((2, 3, time_basis.SINCE_OFF.count + 1))
    note, pitch = np.concatenate([on, rest], axis=-1).astype(np.float32), np.array([[60] * 3, [61] * 3], np.int32)
    got = keras.ops.convert_to_numpy(network([np.zeros((2, 3, 16), np.float32), note, pitch]))

    hidden = next(name for name in w if name.startswith("dense") and name.endswith("kernel"))
    x = np.concatenate([rest, w["key/embeddings"][pitch]], axis=-1) @ w[hidden] + w[hidden.replace("kernel", "bias")]
    x = keras.ops.convert_to_numpy(keras.activations.gelu(x))
    gate = np.concatenate([rest, x], axis=-1) @ w["gate/kernel"] + w["gate/bias"]
    own = w["own_curves/embeddings"][pitch[:, 0]].reshape(2, time_basis.SINCE_ON.count, 12)
    curves = (on @ w["curves/kernel"] + w["curves/bias"] + on @ own) * gate
    tones, split, parts = 2, 3, []
    for name, first, last in (("tone", 0, tones), ("impulse", tones, 6)):
        table = w[f"common_{name}/embeddings"][0] + w[f"own_{name}/embeddings"][pitch[:, 0]]
        table = table.reshape(2, last - first, 16, 2)
        below = np.einsum("vfj,vjbc->vfbc", curves[..., first:last], table[:, :, :split])
        above = np.einsum("vfj,vjbc->vfbc", curves[..., 6 + first : 6 + last], table[:, :, split:])
        parts.append(np.concatenate([below, above], axis=2))
    np.testing.assert_allclose(got.reshape(2, 3, 16, 4), np.concatenate(parts, axis=-1), rtol=1e-3, atol=1e-4)


def test_a_key_that_was_never_trained_sounds_after_its_neighbour(model):
    """It plays the neighbour's modes, transposed, with the neighbour's gains: its own pitch, as loud as the
    neighbour."""
    true, neighbour = (render([Note(0.0, 0.5, pitch)], model, progress=False) for pitch in (62, 61))
    f0, modes = model.tuning.f0, list(model.tuning.modes)
    modes[2] = tuple(np.array(modes[1]) * f0[2] / f0[1])  # as measure_modes would
    lent = with_all_keys(model, {62: 61, 63: 64})
    lender = dataclasses.replace(lent, tuning=dataclasses.replace(model.tuning, modes=tuple(modes)))
    lent = render([Note(0.0, 0.5, 62)], lender, progress=False)
    assert abs(20 * np.log10(np.linalg.norm(lent) / np.linalg.norm(neighbour))) < 1
    peaks = [np.argmax(np.abs(np.fft.rfft(x[:16384] * np.hanning(16384)))[:160]) for x in (true, lent)]
    assert abs(peaks[0] - peaks[1]) <= 1
    for mine, before in zip(lender.network.weights, model.network.weights, strict=True):
        rows = [0, 1, 1, 4, 4] if before.path.startswith(("own_", "key/")) else slice(None)
        np.testing.assert_array_equal(mine.numpy(), before.numpy()[rows])


def test_a_mask_network_copies_its_neighbour_s_tables_too(model):
    settings = small_settings(architecture="mask_keyed", units=4)
    network, heard = build_network(settings), dataclasses.replace(model.heard, keys=Heard.keys)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.normal(0, 0.1, weight.shape))
    mask = dataclasses.replace(model, network=network, settings=settings, heard=heard)
    for weight, lent in zip(network.weights, borrow_keys(mask, {60, 61, 64}).network.weights, strict=True):
        expected = weight.numpy()
        if weight.path.startswith(("own_", "key/")):
            expected[[62, 63]] = expected[[61, 64]]
        np.testing.assert_array_equal(lent.numpy(), expected)
    assert borrow_keys(mask, range(60, 65)) is mask


def test_a_small_file_is_a_quarter_and_sounds_the_same(model, tmp_path):
    whole, small = save_model(tmp_path / "a.keras", model), save_small_model(tmp_path / "b.keras", model)
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    again = load_model(str(small))
    assert {w.dtype for w in again.network.weights} == {"float32"} and again.training == model.training
    notes = [Note(0.0, 0.4, 60), Note(0.3, 0.8, 64)]
    a, b = (render(notes, m, progress=False) for m in (model, again))
    assert metrics.snr_db(a, b) > 50


@pytest.mark.parametrize("impulse", ["ringing", "frame", "none"])
def test_the_impulse_channel_can_be_taken_away_or_turned(impulse):
    starts, held = np.array([[-1500, -700, 300, 5000]]), np.array([[4000]])
    usual = impulse_channel(starts, held, make_settings())
    channel = impulse_channel(starts, held, make_settings(impulse=impulse))
    if impulse == "ringing":
        np.testing.assert_array_equal(channel, usual)
    elif impulse == "none":
        assert not channel.any()
    else:
        np.testing.assert_allclose(np.abs(channel), np.abs(usual), rtol=1e-5)
        assert not np.allclose(channel, usual)


def test_a_tone_can_have_fewer_partials_or_none(pair):
    tuning = estimate_tuning(pair.audio, pair.notes, 60, 64)
    note = Note(0.0, 0.5, 60)
    full, one, none = (
        ToneTable(tuning, [note], make_settings(**change).codification).voice(note)
        for change in ({}, {"partials": 1}, {"tone": False})
    )
    assert not none.any() and np.abs(full).max() > 2
    spectrum = np.abs(np.fft.rfft(one[:16384] * np.hanning(16384)))
    peak = np.argmax(spectrum)
    assert peak * 44100 / 16384 == pytest.approx(tuning.f0[0], rel=0.02)
    assert spectrum[: peak - 8].max() < 0.01 * spectrum[peak] and spectrum[peak + 8 :].max() < 0.01 * spectrum[peak]


def test_frames_on_a_grid_start_on_it(pair):
    settings = make_settings(batch=16, frames=4, grid=256)
    draw = make_dataset(pair.notes, pair.audio, settings, estimate_tuning(pair.audio, pair.notes, 60, 64))
    assert not np.any(draw.positions(0) % 256)


def test_a_modal_network_hears_the_frames_that_it_renders_and_any_around_note_off(pair):
    settings = make_settings(batch=64, frames=4, frame_step=512)
    draw = make_dataset(pair.notes, pair.audio, settings, estimate_tuning(pair.audio, pair.notes, 60, 64))
    note, first = draw._drawn(0, validation=False)
    moment = first - draw.starts[note, None]
    since_off, anywhere = moment - draw.held[note, None], moment % 512 != 0
    assert np.all(np.abs(since_off[anywhere]) <= 2048) and 0.05 < anywhere.mean() < 0.25


def test_a_fainter_bandwidth_counts_fainter_bands():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(3 * 44100)
    spectrum, f = np.fft.rfft(noise), np.fft.rfftfreq(len(noise), 1 / 44100)
    target = np.fft.irfft(spectrum * np.where(f > 8000, 10 ** (-75 / 20), 1.0), len(noise))
    assert metrics.bandwidth_hz(target, target) == pytest.approx(8063, abs=1)
    assert metrics.bandwidth_hz(target, target, 85) == 20000
    assert metrics.third_octave_energies(target)[-1] < 1e-6 * metrics.third_octave_energies(target)[0] * 1e3


def test_the_error_of_a_stretch_is_seen_in_its_octave_and_time():
    t = np.arange(44100) / 44100
    target = np.sin(2 * np.pi * 707 * t)
    error = np.where((t > 0.5) & (t < 0.6), 0.1, 0.0) * np.sin(2 * np.pi * 5600 * t)
    energy, wrong = metrics.snr_map(target, target - error, np.array([0, 0.4, 0.7, 1.0]))
    assert np.unravel_index(np.argmax(energy), energy.shape)[0] == 2
    assert np.unravel_index(np.argmax(wrong), wrong.shape) == (5, 1)
    assert wrong[5, 1] == pytest.approx(np.sum(error**2), rel=0.05)


def test_pieces_are_measured_and_the_worst_counts(model, tmp_path, monkeypatch):
    monkeypatch.setattr(test_set, "FOLDER", tmp_path / "pieces")
    for name, pitch in (("one", 62), ("two", 64)):
        write_midi(tmp_path / f"{name}.mid", [Note(0.0, 0.4, pitch), Note(0.5, 0.9, pitch - 1)])
    result = test_set.measure_pieces(model, [str(tmp_path / "one.mid"), str(tmp_path / "two.mid")])
    rows = result["pieces"]
    assert set(rows) == {"one", "two"} and read_json(test_set.result_file(model.name)) == result
    assert result["worst"]["snr_db"] == min(row["snr_db"] for row in rows.values())
    assert all(row["limit_hz"] >= row["bandwidth_hz"] for row in rows.values())
    assert result["worst"]["attack_ratio"] == max(
        row["attack_lsd_db"] / row["griffin_lim"]["attack_lsd_db"] for row in rows.values()
    )
    monkeypatch.setattr(test_set, "griffin_lim", None)  # not made a second time
    assert test_set.measure_pieces(model, [str(tmp_path / "one.mid")])["pieces"]["one"]["griffin_lim"]
    with pytest.raises(InputError, match="usage"):
        test_set.main([])


def test_the_alternatives_are_compared_in_one_run(model, tmp_path):
    write_midi(tmp_path / "a.mid", [Note(0.0, 0.4, 60), Note(0.3, 0.9, 64)])
    piece = evaluation.make_piece(str(tmp_path / "a.mid"), model)
    rows = test_set.measure_alternatives(piece, model, model.name)
    assert rows["sampler, the same recordings"]["correlation"] == pytest.approx(1)
    assert rows["codification alone"]["correlation"] < rows["network"]["correlation"]
    assert all(row["megabytes"] > 0 and row["times_real_time"] > 0 for row in rows.values())
    assert test_set.alternatives_table(rows).count("\n") == len(rows) + 1


def test_rounded_weights_have_few_bits():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32) * np.float32(0.01)
    near = rounded(x)
    assert np.all(np.abs(near - x) <= np.abs(x) * 2.0**-BITS) and near.dtype == np.float32
    np.testing.assert_array_equal(near.astype(np.float16).astype(np.float32), near)  # a float16 holds all of them
    np.testing.assert_array_equal(rounded(near), near)


def test_the_shipped_model_is_small_and_says_how_it_was_made():
    shipped = load_model(str(PRETRAINED))
    assert PRETRAINED.stat().st_size < 12e6
    assert (shipped.low, shipped.high, shipped.instrument) == (21, 108, "steinway")
    assert {"command", "seconds", "measures"} <= set(shipped.training)
    assert {"versions", "commit", "data"} == set(shipped.training["made_with"])
    for name, least in TARGETS.items():
        assert shipped.training["measures"][name] >= least


def test_the_shipped_model_plays_bach_as_it_says(piano):
    shipped = load_model(str(PRETRAINED))
    target = piano.render(bwv847_fugue())
    measured = metrics.measure(target, render(bwv847_fugue(), shipped, progress=False), np.zeros(0))
    said = read_json(ROOT / "data" / "results" / "pieces" / "steinway.json")["pieces"]["bwv847_fugue"]
    assert measured["snr_db"] == pytest.approx(said["snr_db"], abs=0.5)
    assert measured["correlation"] > TARGETS["correlation"] and measured["snr_db"] > TARGETS["snr_db"]


def test_a_soundfonts_pair_has_every_velocity():
    notes = scale_sequence(60, 62, repetitions=3, softest=20, velocity=120)
    for pitch in (60, 61, 62):
        assert sorted(n.velocity for n in notes if n.pitch == pitch) == [20, 40, 60, 80, 100, 120]
    plain = scale_sequence(60, 62, repetitions=3)
    assert [samples_of(n) for n in plain] == [samples_of(n) for n in notes] and {n.velocity for n in plain} == {100}


def test_make_run_passes_on_what_is_chosen():
    def command(*choices: str) -> str:
        return subprocess.run(["make", "-n", "run", *choices], cwd=ROOT, capture_output=True, text=True).stdout

    assert "--pretrained" not in command() and "--pretrained" not in command("PRETRAINED=0")
    assert '--pretrained "my piece.mid"' in command("PRETRAINED=1", "MIDI=my piece.mid")


def test_make_run_renders_any_file_by_its_notebook_and_only_when_it_must(tmp_path, capfd):
    write_midi(tmp_path / "mine.mid", [Note(0.0, 0.3, 60, 40), Note(0.2, 0.8, 67, 110)])
    pipeline.main(["--pretrained", str(tmp_path / "mine.mid")])
    said = capfd.readouterr().out
    assert "$ papermill 06_evaluation.ipynb" in said and "05_train" not in said and "prediction.wav" in said
    result = read_json(evaluation.result_file("mine"))
    assert result["model"] == "steinway" and result["snr_db"] > 15
    (step,) = pipeline.steps([str(tmp_path / "mine.mid")], pretrained=True)
    assert step.is_up_to_date()
    pipeline.main(["--pretrained", str(tmp_path / "mine.mid")])
    said = capfd.readouterr().out
    assert "06_mine.ipynb is up to date" in said and "$ papermill" not in said and "mine: network" in said
    write_midi(tmp_path / "mine.mid", [Note(0.0, 0.3, 61, 40)])
    assert not step.is_up_to_date()  # another file of the same name
    write_midi(tmp_path / "mine.mid", [Note(0.0, 0.3, 60, 40), Note(0.2, 0.8, 67, 110)])
    assert step.is_up_to_date()
    measures = evaluation.result_file("mine")
    before = measures.read_bytes()
    measures.write_text("{}")
    assert not step.is_up_to_date()  # another run has written the result
    measures.write_bytes(before)
    assert step.is_up_to_date()
    step.writes[0].unlink()
    assert not step.is_up_to_date()
    with pytest.raises(InputError, match=r"nobody.mid does not exist"):
        pipeline.main(["--pretrained", "nobody.mid"])
    write_midi(tmp_path / "low.mid", [Note(0.0, 0.3, 10, 40)])
    with pytest.raises(InputError, match=r"^note of pitch 10 at 0.00 s is outside 21..108"):
        pipeline.main(["--pretrained", str(tmp_path / "low.mid")])


def test_a_scores_velocity_can_be_chosen():
    assert {n.velocity for n in scores.read_notes("bwv847_fugue@64")} == {64}
    for bad in ("bwv847_fugue@0", "bwv847_fugue@loud"):
        with pytest.raises(InputError, match="velocity"):
            scores.read_notes(bad)


def test_the_pedalled_prelude_holds_its_notes_to_the_half_bar():
    plain, held = (
        read_midi(ROOT / "data/midi/bwv846_prelude.mid"),
        read_midi(ROOT / "data/midi/bwv846_prelude_pedal.mid"),
    )
    half = 60 / PRELUDE_TEMPO * 2
    assert [(samples_of(n)[0], n.pitch) for n in plain] == [(samples_of(n)[0], n.pitch) for n in held]
    longer = [after.end - before.end for before, after in zip(plain, held, strict=True)]
    assert min(longer) > -1e-6 and np.mean(np.array(longer) > 0.1) > 0.5
    struck = {(n.pitch, samples_of(n)[0]) for n in held}
    for note, more in zip(held, longer, strict=True):
        again = (note.pitch, sum(samples_of(note))) in struck  # a key that is struck again has ended there
        assert more < 0.05 or again or abs(note.end / half - round(note.end / half)) < 0.02
