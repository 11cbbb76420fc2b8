"""The piano in the page: its pieces join to a note, what is played is kept, and bad messages change nothing."""

import numpy as np
import pytest

from nnss_utils import SAMPLE_RATE
from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.notebook import keyboard
from nnss_utils.notebook.keyboard import Piano, Take
from nnss_utils.synthesis.voice import VoiceRenderer


class Page:
    """A page that sends and keeps what comes back."""

    def __init__(self, renderer) -> None:
        self.piano = Piano(renderer)
        self.got: list[tuple[dict, list]] = []
        self.piano.send = lambda content, buffers=None: self.got.append((content, buffers))

    def say(self, **message) -> tuple[dict, list] | None:
        before = len(self.got)
        self.piano._hear(self.piano, {"time": 0.0, **message}, [])
        return self.got[-1] if len(self.got) > before else None


@pytest.fixture(scope="module")
def renderer(model):
    return VoiceRenderer(model)


@pytest.fixture
def page(renderer):
    return Page(renderer)


def floats(answer) -> np.ndarray:
    return np.frombuffer(answer[1][0], np.float32)


def test_pieces_and_tail_are_the_note_that_a_piece_would_have(page, renderer):
    first = page.say(type="press", id=1, pitch=62, velocity=80)
    second = page.say(type="more", id=1)
    assert first[0] == {"type": "piece", "id": 1}
    held = len(floats(first)) + len(floats(second)) // 2
    tail = page.say(type="release", id=1, held=held, fade=441)
    assert tail[0] == {"type": "tail", "id": 1, "begin": held - 441}
    whole = renderer.render(Note(0, held / SAMPLE_RATE, 62, 80))
    pieces = np.concatenate([floats(first), floats(second)])
    np.testing.assert_allclose(pieces[: held - 2048], whole[: held - 2048], atol=1e-6)
    np.testing.assert_allclose(floats(tail), whole[held - 441 :], atol=1e-6)
    # a quick crossing from the one to the other is no click: they are nearly alike there
    assert np.abs(pieces[held - 441 : held] - whole[held - 441 : held]).max() < 0.1 * np.abs(whole).max()


def test_a_stroke_that_was_prepared_sends_no_first_piece_again(page):
    prepared = page.say(type="prepare", pitch=61, velocity=70)
    assert prepared[0]["type"] == "prepared" and prepared[0]["pitch"] == 61
    assert page.say(type="press", id=2, pitch=61, velocity=70, prepared=True) is None
    plain = Page(page.piano.renderer)
    np.testing.assert_array_equal(floats(prepared), floats(plain.say(type="press", id=9, pitch=61, velocity=70)))
    np.testing.assert_array_equal(floats(page.say(type="more", id=2)), floats(plain.say(type="more", id=9)))


def test_a_voice_that_is_unknown_is_lost_and_the_oldest_make_room(page, monkeypatch):
    assert page.say(type="more", id=77)[0] == {"type": "lost", "id": 77}
    monkeypatch.setattr(keyboard, "MOST_VOICES", 2)
    for voice in (1, 2, 3):
        page.say(type="press", id=voice, pitch=60, velocity=50)
    assert page.say(type="more", id=1)[0]["type"] == "lost" and page.say(type="more", id=3)[0]["type"] == "piece"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "press", "id": 1, "pitch": 200, "velocity": 64},
        {"type": "press", "id": 1, "pitch": 60, "velocity": 0},
        {"type": "press", "id": "x", "pitch": 60, "velocity": 64},
        {"type": "press", "id": 1, "pitch": 5, "velocity": 64},  # outside of the model
        {"type": "release", "id": 1, "held": 10**12, "fade": 0},
        {"type": "prepare", "pitch": 60},
        {"type": "pedal", "down": "yes"},
        {"type": "more", "id": 1, "time": "now"},
        {"type": "run"},
    ],
)
def test_bad_messages_get_one_line_and_change_nothing(page, message):
    answer = page.say(**message)
    assert answer[0]["type"] == "message" and "\n" not in answer[0]["text"]
    assert page.say(type="press", id=5, pitch=60, velocity=64)[0]["type"] == "piece"


def test_another_network_changes_the_piano(page, renderer):
    page.piano.use(renderer)
    assert (page.piano.low, page.piano.high) == (renderer.model.low, renderer.model.high)
    assert page.got[-1][0] == {"type": "changed"}


def test_a_take_keeps_keys_and_pedal_and_its_midi_file_gives_what_was_heard(page, tmp_path):
    page.piano.take = take = Take()
    for message in (
        {"type": "press", "id": 1, "pitch": 60, "velocity": 80, "time": 10.0},
        {"type": "pedal", "down": True, "time": 10.2},
        {"type": "lift", "id": 1, "time": 10.5},
        {"type": "press", "id": 2, "pitch": 64, "velocity": 100, "time": 11.0},
        {"type": "pedal", "down": False, "time": 11.5},
        {"type": "lift", "id": 2, "time": 12.0},
    ):
        page.say(**message)
    notes, pedal = take.notes()
    assert notes == [Note(0.0, 0.5, 60, 80), Note(1.0, 2.0, 64, 100)]
    assert pedal == [(pytest.approx(0.2), 1.5)]
    heard = read_midi(write_midi(tmp_path / "take.mid", notes, pedal=pedal))
    assert [(n.pitch, n.velocity) for n in heard] == [(60, 80), (64, 100)]
    np.testing.assert_allclose([(n.start, n.end) for n in heard], [(0, 1.5), (1, 2)], atol=1e-4)


def test_what_is_still_down_ends_with_the_take():
    take = Take()
    assert take.notes() == ([], [])
    take.record({"type": "pedal", "down": True, "time": 1.0})
    take.record({"type": "press", "id": 1, "pitch": 60, "velocity": 80, "time": 2.0})
    take.record({"type": "press", "id": 2, "pitch": 62, "velocity": 80, "time": 3.0})
    take.record({"type": "lift", "id": 2, "time": 4.0})
    notes, pedal = take.notes()
    assert notes == [Note(0, 2, 60, 80), Note(1, 2, 62, 80)] and pedal == [(0, 2)]
