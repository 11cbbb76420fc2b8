"""The page of 10_play without a browser: what is dropped is rendered or refused, what is played is kept."""

import io

import mido
import numpy as np
import pytest
import soundfile

from nnss_utils.errors import InputError
from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.model.model_file import save_model
from nnss_utils.notebook import app, controls, live
from nnss_utils.notebook.app import App
from nnss_utils.paths import run_file
from nnss_utils.training.checkpoint import Progress

NOTES = [Note(0.0, 0.4, 60), Note(0.3, 0.9, 64, 70)]


@pytest.fixture(scope="module")
def desk(model, tmp_path_factory):
    save_model(run_file("small"), model)
    return App("small", folder=tmp_path_factory.mktemp("played"))


def drop(desk: App, name: str, content: bytes) -> str:
    """Drop a file and return what the page says in the end."""
    desk._dropped(desk.drop, {"type": "file", "name": name}, [memoryview(content)])
    desk.wait()
    return desk.piece_message.value


def bytes_of(path) -> bytes:
    return path.read_bytes()


def test_a_dropped_piece_is_heard_beside_its_instrument(desk, tmp_path):
    said = drop(desk, "two.mid", bytes_of(write_midi(tmp_path / "two.mid", NOTES)))
    assert said.startswith("two.mid: 2 notes") and "SNR" in said
    assert [column["title"] for column in desk.compared.columns] == ["prediction (network)", "target (instrument)"]
    prediction, target = (soundfile.read(io.BytesIO(column["sound"]))[0] for column in desk.compared.columns)
    assert len(prediction) == len(target) and np.abs(prediction).max() > 0.01
    assert bytes(desk.roll.value).startswith(b"\x89PNG") and desk.roll.layout.display == ""
    assert desk.progress.value == 0 and desk.cancel.disabled


def test_what_is_no_piece_is_refused_in_one_line_without_markup(desk):
    before = desk.compared.columns
    assert "is not a readable MIDI file" in drop(desk, "<b>x</b>.mid", b"<script>")
    assert "<b>" not in desk.piece_message.value and "/tmp" not in desk.piece_message.value
    desk._dropped(desk.drop, {"type": "refused", "name": "C:\\songs\\huge.mid", "bytes": 5e7}, [])
    desk.wait()
    assert "huge.mid has 50.0 MB" in desk.piece_message.value and "songs" not in desk.piece_message.value
    assert "at most 0.9 MB" in drop(desk, "large.mid", bytes(controls.MOST_BYTES + 1))  # a page that does not refuse it
    assert desk.compared.columns == before


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ([Note(0, 3 * 3600, 60)], "180 minutes of music"),
        ([Note(0, 1, 60 + i % 5) for i in range(129)], "129 notes sound at once"),
        ([Note(0.01 * i, 0.01 * i + 0.01, 60) for i in range(20_001)], "20001 notes"),
    ],
)
def test_pieces_beyond_the_page_s_bounds_are_refused(notes, says):
    with pytest.raises(InputError, match=says):
        controls.check_piece(notes)


def test_notes_at_once_are_counted():
    assert controls.most_at_once([Note(0, 1, 60), Note(1, 2, 60), Note(1, 3, 64), Note(2.5, 4, 67)]) == 2
    assert controls.most_at_once([]) == 0


def test_ten_thousand_notes_at_once_leave_the_page_alive(desk, tmp_path):
    track = mido.MidiTrack([mido.Message("note_on", note=60 + i % 5, velocity=1 + i % 127) for i in range(10_000)])
    track.append(mido.Message("note_off", note=60, time=480))
    song = mido.MidiFile(type=0, tracks=[track])
    buffer = io.BytesIO()
    song.save(file=buffer)
    assert "10000 notes sound at once" in drop(desk, "crowd.mid", buffer.getvalue())
    assert "2 notes" in drop(desk, "two.mid", bytes_of(write_midi(tmp_path / "two.mid", NOTES)))


def test_another_file_stops_the_one_before(desk, tmp_path):
    long = write_midi(
        tmp_path / "long.mid", [Note(0.5 * i, 0.5 * i + 0.4, 60 + i % 5, 1 + i % 127) for i in range(900)]
    )
    desk._dropped(desk.drop, {"type": "file", "name": "long.mid"}, [memoryview(bytes_of(long))])
    assert drop(desk, "two.mid", bytes_of(write_midi(tmp_path / "two.mid", NOTES))).startswith("two.mid: 2 notes")


def test_what_is_played_is_kept_as_midi_and_wav(desk):
    folder = desk.keep(NOTES, [(0.2, 1.5)])
    heard = read_midi(folder / "played.mid")
    assert [n.pitch for n in heard] == [60, 64] and heard[0].end == pytest.approx(1.5, abs=1e-4)
    sound, rate = soundfile.read(folder / "played.wav")
    assert rate == 44100 and len(sound) >= 1.5 * 44100 and np.abs(sound).max() > 0.01
    assert [file["name"] for file in desk.recorded.files] == ["played.mid", "played.wav"]
    assert desk.recorded.files[1]["data"] == (folder / "played.wav").read_bytes()
    assert desk.keep(NOTES) != folder  # the first is not lost


def test_the_record_button_keeps_what_the_piano_hears(desk):
    desk.record.value = True
    desk.record.value = False
    assert desk.record_message.value == "nothing was played"
    desk.record.value = True
    for message in ({"type": "press", "id": 1, "pitch": 60, "velocity": 80, "time": 1.0},
                    {"type": "lift", "id": 1, "time": 1.4}):  # fmt: skip
        desk.piano._hear(desk.piano, message, [])
    desk.record.value = False
    desk.wait()
    assert desk.record_message.value.startswith("1 notes kept in") and desk.record.description == "record"


def test_an_unexpected_error_is_said_and_the_page_goes_on(desk, monkeypatch, tmp_path):
    piece = bytes_of(write_midi(tmp_path / "two.mid", NOTES))
    with monkeypatch.context() as broken:
        broken.setattr(app, "roll_picture", lambda *_: 1 / 0)
        broken.setattr("threading.excepthook", lambda _: None)
        assert "ZeroDivisionError" in drop(desk, "two.mid", piece)
    assert "2 notes" in drop(desk, "two.mid", piece)


def test_the_menu_finds_variants_by_power(model, tmp_path):
    settings = {
        "mine": model.settings,
        "other": model.settings.from_dict(
            {**(d := model.settings.to_dict()), "training": {**d["training"], "power": 0.125}}
        ),
        "log": model.settings.from_dict({**d, "training": {**d["training"], "power": "log"}}),
    }
    assert controls.power_variants(settings, "mine") == {"1/2": "mine", "1/8": "other", "log": "log"}
    chosen = []
    shown = controls.ModelSelector(settings, "mine", chosen.append)
    shown.power.value = "other"
    assert chosen == ["other"] and shown.network.value == "other" and shown.power.value == "other"
    shown.network.value = "log"
    assert chosen == ["other", "log"] and shown.power.label == "log"

    def fail(name: str) -> None:
        raise InputError(f"{name} is broken")

    shown.use = fail
    shown.network.value = "mine"
    assert shown.message.value == "mine is broken"


def test_another_network_renders_the_piece_again(desk, model, tmp_path):
    drop(desk, "two.mid", bytes_of(write_midi(tmp_path / "two.mid", NOTES)))
    desk.compared.columns = []
    desk.use("small")
    desk.wait()
    assert len(desk.compared.columns) == 2


def test_broken_and_direct_models_are_no_choice(desk):
    run_file("broken").parent.mkdir(parents=True)
    run_file("broken").write_bytes(b"nothing")
    try:
        assert "small" in controls.playable_models() and "broken" not in controls.playable_models()
    finally:
        run_file("broken").unlink()
        run_file("broken").parent.rmdir()
    with pytest.raises(InputError, match="no_such"):
        App("no_such")


@pytest.mark.parametrize(("power", "name"), [(0.5, "1/2"), (0.125, "1/8"), (0.3, "0.3"), (1.0, "1"), ("log", "log")])
def test_powers_have_names(power, name):
    assert controls.power_name(power) == name


def test_a_training_is_looked_at_only_where_it_is_seen(model, monkeypatch, tmp_path):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    assert live.live_view(NOTES) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "05_train.ipynb")
    played = []
    view = live.live_view(NOTES, lambda notes: played.append(notes) or np.zeros(44100, np.float32))
    assert played == [NOTES] and not view.due(Progress(seconds=1.0)) and view.due(Progress(seconds=3.0))
    view(Progress(10, 3.0, [1.0, 0.5], [(10, 0.7)]), model)
    first = bytes(view.image.value)
    assert first.startswith(b"\x89PNG") and view.next_probe > 3.0
    view(Progress(20, 9.0, [1.0, 0.5, 0.2], [(10, 0.7), (20, 0.3)]), model)
    assert view.image.value != first and view.probes == 2
    alone = live.TrainingView([])
    alone(Progress(1, 1.0, [1.0]), model)  # no notes in the network's range: the loss alone
    assert bytes(alone.image.value).startswith(b"\x89PNG")
