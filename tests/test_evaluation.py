"""From a MIDI file to sounds, pictures and measures on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nnss_utils import paths, scores
from nnss_utils.errors import InputError, UnavailableError
from nnss_utils.evaluation import baselines, tables
from nnss_utils.evaluation import piece as evaluation
from nnss_utils.evaluation.metrics import measure
from nnss_utils.midi import Note, write_midi
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.notebook import charts, diagrams, plots

SPECIFIED = {
    "correlation", "snr_db", "bandwidth_hz", "bands", "attack_lsd_db", "sustain_lsd_db", "multi_scale_loss", "seconds",
    "synthesis_seconds", "peak_memory_mb", "model", "parameters",
}  # fmt: skip
NOTES = [Note(0, 0.4, 60), Note(0.3, 0.8, 64, 80)]


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    return str(write_midi(tmp_path_factory.mktemp("midi") / "my piece.mid", NOTES))


def test_a_piece_on_disk(model, midi, piano):
    piece = evaluation.make_piece(midi, model, output="float")
    assert piece.name == "my_piece" and len(piece.target) == len(piece.prediction) == len(piece.codification)
    sounds = {kind: soundfile.read(piece.folder / f"{kind}.wav", dtype="float32") for kind in ("prediction", "target")}
    assert all(rate == 44100 for _, rate in sounds.values())
    np.testing.assert_allclose(sounds["prediction"][0], piece.prediction, atol=1e-7)
    played = piano.render(NOTES)
    np.testing.assert_allclose(sounds["target"][0][: len(played)], played, atol=1e-7)

    rows, _ = baselines.measure_sounds(piece.target, piece.prediction, piece.codification, piece.onsets)
    result = evaluation.record(piece, model, rows)
    references = result["references"]
    assert len(references) == 4 and references["silence"]["snr_db"] == pytest.approx(0)
    written = json.loads(evaluation.result_file("my_piece").read_text())
    assert set(written) >= SPECIFIED and written == json.loads(json.dumps(result))
    again = measure(sounds["target"][0], sounds["prediction"][0], piece.onsets)
    assert again["snr_db"] == pytest.approx(written["snr_db"], abs=0.01)
    assert written["model"] == "small" and written["parameters"]["count"] == model.network.count_params()
    assert result["correlation"] > 0.5 and references["Griffin-Lim on the true magnitudes"]["correlation"] < 0.5
    assert tables.band_table({"network": result}).count("\n") == 2
    assert "network" in tables.summary_table(rows)


def test_both_sounds_are_scaled_together(model, tmp_path, capsys):
    loud = [Note(0, 0.3, pitch, 127) for pitch in range(60, 65)] * 4
    piece = evaluation.make_piece(str(write_midi(tmp_path / "loud.mid", loud)), model, output="float")
    single = evaluation.make_piece(str(write_midi(tmp_path / "one.mid", loud[:1])), model, output="float")
    assert max(np.abs(piece.target).max(), np.abs(piece.prediction).max()) <= 1
    assert np.abs(single.target).max() < 1
    if "above 1" in capsys.readouterr().out:
        assert max(np.abs(piece.target).max(), np.abs(piece.prediction).max()) == pytest.approx(1, abs=1e-5)


def test_a_recording_can_be_the_target(model, midi, piano, tmp_path):
    soundfile.write(tmp_path / "mine.wav", 0.5 * piano.render(NOTES), 44100, subtype="FLOAT")
    piece = evaluation.make_piece(midi, model, "with_wav", str(tmp_path / "mine.wav"))
    assert np.abs(piece.target).max() == pytest.approx(0.5 * np.abs(piano.render(NOTES)).max(), rel=1e-3)


def test_a_model_of_a_recording_renders_and_says_what_is_missing(model, midi, capsys):
    own = TrainedModel(**{**vars(model), "instrument": "own recording mine.wav"})
    piece = evaluation.make_piece(midi, own, "own")
    assert piece.target is None and len(piece.prediction) == len(piece.codification)
    assert "to measure it give wav=PATH" in capsys.readouterr().out
    assert [path.name for path in (paths.RENDERS / "own").iterdir()] == ["prediction.wav"]


def test_without_its_piano_a_model_still_plays(model, midi, monkeypatch, capsys):
    def unavailable(name):
        raise UnavailableError("the piano could not be fetched (no network)")

    monkeypatch.setattr(evaluation, "load_instrument", unavailable)
    assert evaluation.make_piece(midi, model, "alone").target is None
    assert "no target: the piano could not be fetched (no network)" in capsys.readouterr().out


def test_two_files_of_one_name_are_two_pieces(tmp_path):
    files = [write_midi(tmp_path / folder / "song.mid", NOTES[:n]) for n, folder in enumerate("ab", 1)]
    names = [tables.claim_name(str(path)) for path in files]
    assert names[0] == "song" and names[1].startswith("song_") and names == [tables.claim_name(p) for p in files]
    for name, file in zip(names, files, strict=True):
        kept = Path(paths.read_json(tables.RENDERS / name / "source.json")["midi"])
        assert not kept.is_absolute() and (paths.ROOT / kept).samefile(file)
    write_midi(files[0], NOTES[:3])  # the same file, changed, takes its own place
    assert tables.claim_name(files[0]) == "song" and tables.claim_name(files[1], "mine") == "mine"
    own = write_midi(tmp_path / "bwv847_fugue.mid", NOTES)
    assert tables.claim_name(own).startswith("bwv847_fugue_") and tables.claim_name("bwv847_fugue") == "bwv847_fugue"
    assert len(tables.piece_name("ü" * 300 + ".mid").encode()) <= 80


def test_scores_by_name_and_bad_names(model):
    assert len(scores.read_notes("bwv847_fugue")) == 20
    with pytest.raises(InputError, match="does not exist"):
        scores.read_notes("bwv999")
    for name in ("../x", "a/b", "..", 7):
        with pytest.raises(InputError, match="name"):
            tables.piece_name("a.mid", name)
    assert tables.piece_name("dir/Für Elise (1).mid") == "Für_Elise__1_"


def test_pieces_outside_the_trained_range_leave_nothing_behind(model):
    with pytest.raises(InputError, match=r"outside 60\.\.64"):
        evaluation.make_piece("bwv847_fugue", model, "nothing")
    assert not (paths.RENDERS / "nothing").exists()


def test_every_figure_has_content(model, midi, tmp_path):
    piece = evaluation.make_piece(midi, model, "figures")
    sounds = {"target": piece.target, "prediction": piece.prediction}
    result = measure(piece.target, piece.prediction, piece.onsets)
    training = {"train_curve": [1.0, 0.5], "validation_curve": {"step": [2], "loss": [0.6]}}
    figures = [
        diagrams.diagram(), plots.piano_roll(piece.notes), plots.spectrogram(piece.target),
        charts.loss_curves(training),
        plots.compare_spectrograms(sounds), plots.waveforms(sounds, 0, 0.05), charts.band_bars({"prediction": result}),
    ]  # fmt: skip
    for number, (figure, _) in enumerate(figures):
        path = plots.save_figure(figure, tmp_path / f"{number}.png", dpi=50)
        pixels = plots.plt.imread(path)
        assert pixels.std() > 0.02
        plots.plt.close(figure)
