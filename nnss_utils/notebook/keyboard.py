"""A piano in the page that a network plays (notebook 10_play): keys ask for sound, and a take records them. The page
(browser/piano.js) joins the pieces of a key to the sample: together they are the note of `synthesis.render`."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter

import anywidget
import numpy as np
import traitlets

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, check_number
from nnss_utils.midi import Note
from nnss_utils.notebook.players import BROWSER, STYLE
from nnss_utils.synthesis.voice import VoiceRenderer

MOST_VOICES = 64  # voices at once; a further one ends the oldest
MOST_HELD = 25.0  # s, longest time that a key can be held


@dataclass
class Take:
    """A recording of what is played: strokes of keys and of the pedal, in seconds of the page's clock."""

    strokes: dict[int, list] = field(default_factory=dict)  # voice -> [pitch, velocity, struck, released or None]
    pedal: list[tuple[float, bool]] = field(default_factory=list)

    def record(self, message: dict) -> None:
        """Record one message of the page, if it is about keys or the pedal."""
        kind, time = message["type"], message["time"]
        if kind == "press":
            self.strokes[message["id"]] = [message["pitch"], message["velocity"], time, None]
        elif kind == "lift" and message["id"] in self.strokes:
            self.strokes[message["id"]][3] = time
        elif kind == "pedal":
            self.pedal.append((time, message["down"]))

    def notes(self) -> tuple[list[Note], list[tuple[float, float]]]:
        """Return the notes from key down to key up and the pedal's (down, up), in seconds from the first note on. Keys
        and a pedal that are still down end with the last event."""
        if not self.strokes:
            return [], []
        times = [time for _, _, *span in self.strokes.values() for time in span if time is not None]
        start, last = min(times), max(times + [time for time, _ in self.pedal])
        notes = sorted(
            Note(struck - start, max(last if up is None else up, struck + 0.01) - start, pitch, velocity)
            for pitch, velocity, struck, up in self.strokes.values()
        )
        changes = [next(group) for _, group in groupby([*self.pedal, (last, False)], key=itemgetter(1))]
        downs = [(max(at, start), up) for (at, pressed), (up, _) in pairwise(changes) if pressed]
        return notes, [(down - start, up - start) for down, up in downs if up > down]


class Piano(anywidget.AnyWidget):
    """A piano to click and type on: every stroke is a voice that the network makes while it sounds."""

    _esm, _css = BROWSER / "piano.js", STYLE
    low = traitlets.Int(21).tag(sync=True)  # MIDI pitches of the first and the last key
    high = traitlets.Int(108).tag(sync=True)
    velocity = traitlets.Int(90, min=1, max=127).tag(sync=True)
    pedal = traitlets.Bool(False).tag(sync=True)
    gain = traitlets.Float(3.0).tag(sync=True)  # of the page's loudspeaker

    def __init__(self, renderer: VoiceRenderer, **traits: object) -> None:
        """Make a piano that sounds by `renderer`, which is warmed up; traits: velocity, pedal, gain."""
        super().__init__(**traits)
        self.take: Take | None = None  # while it is recorded
        self._lock = threading.Lock()  # messages may come on another thread than cells
        self.use(renderer)
        self.on_msg(self._hear)

    def use(self, renderer: VoiceRenderer) -> None:
        """Sound by another renderer from now on."""
        with self._lock:
            self.renderer = renderer
            self._voices: OrderedDict[int, tuple[int, int, Iterator[np.ndarray]]] = OrderedDict()
        self.low, self.high = renderer.model.low, renderer.model.high
        self.send({"type": "changed"})  # what the page has prepared belongs to another network

    def _hear(self, _: object, message: dict, buffers: list) -> None:
        """Answer a message of the page; bad ones get one line back and change nothing."""
        try:
            with self._lock:
                check_message(message)
                if self.take is not None:
                    self.take.record(message)
                answer = self._answer(message)
            if answer is not None:
                self.send(*answer)
        except InputError as error:
            self.send({"type": "message", "text": str(error)})

    def _answer(self, message: dict) -> tuple[dict, list[bytes]] | None:
        """Return the answer to a message and the sound that goes with it, float32 as bytes; None if it wants none."""
        kind, voice = message["type"], message.get("id")
        key = message.get("pitch"), message.get("velocity")
        if kind in ("lift", "pedal"):
            return None
        if kind == "prepare":  # a stroke that may come
            return {**message, "type": "prepared"}, [next(self.renderer.sustain(*key)).tobytes()]
        if kind == "press":
            self._voices[voice] = *key, self.renderer.sustain(*key)
            while len(self._voices) > MOST_VOICES:
                self._voices.popitem(last=False)
        if voice not in self._voices:
            return {"type": "lost", "id": voice}, []
        if kind == "release":
            begin = max(0, message["held"] - message["fade"])
            sound = self.renderer.tail(*self._voices.pop(voice)[:2], message["held"], begin)
            return {"type": "tail", "id": voice, "begin": begin}, [sound.tobytes()]
        piece = next(self._voices[voice][2])
        return None if message.get("prepared") else ({"type": "piece", "id": voice}, [piece.tobytes()])


def check_message(message: dict) -> None:
    """Raise `InputError` unless a message of the page has what its kind needs, within bounds."""
    bounds = {"time": (0, 1e9), "id": (0, 2**53), "pitch": (0, 127), "velocity": (1, 127),
              "held": (1, MOST_HELD * SAMPLE_RATE), "fade": (0, SAMPLE_RATE)}  # fmt: skip
    needed = {"press": ("id", "pitch", "velocity"), "more": ("id",), "release": ("id", "held", "fade"),
              "lift": ("id",), "pedal": (), "prepare": ("pitch", "velocity")}  # fmt: skip
    if not isinstance(message, dict) or message.get("type") not in needed:
        raise InputError("the piano doesn't know this message; reload the page")
    for name in (*needed[message["type"]], "time"):
        check_number(name, message.get(name), *bounds[name], integer=name != "time")
    if message["type"] == "pedal" and not isinstance(message.get("down"), bool):
        raise InputError("the pedal is down or not; reload the page")
