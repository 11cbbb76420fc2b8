"""The page of notebook 10_play: model selector, piano, recorder, MIDI files; a thread renders while the piano plays."""

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from html import escape
from pathlib import Path

import ipywidgets
import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.evaluation import metrics
from nnss_utils.instruments.base import on_grid
from nnss_utils.instruments.load import can_play, grid_of, load_instrument
from nnss_utils.instruments.wav import write_wav
from nnss_utils.midi import Note, check_range, read_midi, write_midi
from nnss_utils.model.model_file import find_model, load_model
from nnss_utils.notebook import controls, players, plots
from nnss_utils.notebook.keyboard import Piano, Take
from nnss_utils.paths import RENDERS, relative
from nnss_utils.scores import read_notes
from nnss_utils.synthesis.render import synthesize
from nnss_utils.synthesis.voice import VoiceRenderer


class Stopped(Exception):
    """The visitor stops the work, or starts other work."""


class App:
    """All parts of the page, each a widget to display: `selector`, `keys`, `recorder`, `pieces` and `compared`."""

    def __init__(self, model: str, velocity: int = 90, gain: float = 3.0, folder: Path = RENDERS) -> None:
        """Make the page with the network called `model`; recordings are kept in folders of `folder`. Raises
        `InputError` if there is no such network, or none that keys can play."""
        models = controls.playable_models()
        if model not in models:
            find_model(model)  # raises if there is none at all
            known = ", ".join(models) or "none"
            raise InputError(f"model {model!r} can't be played by keys, only by 06_evaluation; those that can: {known}")
        self.folder, self.gain = folder, gain
        self._load(model)
        self.piano = Piano(self.renderer, velocity=velocity, gain=gain)
        self.selector = controls.ModelSelector(models, model, self.use)
        self.keys = _keys(self.piano)
        self.recorder = self._recorder()
        self.pieces = self._pieces()
        self._piece: tuple[str, Sequence[Note]] | None = None  # the one that is shown
        # one thread for all jobs: each new thread would keep memory of its own
        self._worker, self._last = ThreadPoolExecutor(1), Future()
        self._last.set_result(None)
        self._stop = self._stop_running = threading.Event()  # of the last job, and of the one that runs

    def _load(self, model: str) -> None:
        """Make a renderer for the keys and one for pieces, which would drop what the keys want to keep."""
        self.renderer = VoiceRenderer(load_model(model))
        self.renderer.warm_up()
        self._piece_renderer = VoiceRenderer(self.renderer.model)

    def use(self, model: str) -> None:
        """Play by another network from now on, and render the current piece with it."""
        self._load(model)
        self.piano.use(self.renderer)
        if self._piece is not None:
            self._begin(lambda: self._render(*self._piece))

    def _recorder(self) -> ipywidgets.VBox:
        self.record = ipywidgets.ToggleButton(description="record", tooltip="record what is played")
        self.record_message = ipywidgets.HTML().add_class("nnss-record-message")
        self.recorded = players.Comparison(gain=self.gain, longest=controls.MOST_SECONDS)
        self.record.observe(lambda change: self._start_take() if change["new"] else self._end_take(), names="value")
        return ipywidgets.VBox([ipywidgets.HBox([self.record, self.record_message]), self.recorded])

    def _start_take(self) -> None:
        self.record.description, self.piano.take = "stop", Take()
        self.record_message.value = "recording: play"

    def _end_take(self) -> None:
        take, self.piano.take = self.piano.take, None
        self.record.description = "record"
        notes, pedal = take.notes() if take else ([], [])
        if notes:
            self._begin(lambda: self.keep(notes, pedal), self.record_message)
        else:
            self.record_message.value = "nothing was played"

    def keep(self, notes: Sequence[Note], pedal: Sequence[tuple[float, float]] = ()) -> Path:
        """Write what was played as played.mid and played.wav into a new folder, show both, return the folder. The WAV
        is as loud as the page: the network's sound times `gain`, as float so that nothing is clipped."""
        stamp = f"played_{datetime.now():%Y-%m-%d_%H-%M-%S}"
        folder = next(f for f in (self.folder / (stamp + f"-{n}" * (n > 1)) for n in range(1, 1000)) if not f.exists())
        midi = write_midi(folder / "played.mid", notes, pedal=pedal)
        heard = read_midi(midi)  # with what the pedal held
        self.record_message.value = f"rendering {len(heard)} notes ..."
        controls.check_piece(heard)
        sound = self._sound(heard, self._piece_renderer)
        wav = write_wav(folder / "played.wav", sound * np.float32(self.gain), "float")
        with self.recorded.hold_sync():
            self.recorded.show({"what you played": sound})
            kinds = {midi: "audio/midi", wav: "audio/wav"}
            self.recorded.files = [{"name": f.name, "type": kind, "data": f.read_bytes()} for f, kind in kinds.items()]
        self.record_message.value = f"{len(heard)} notes kept in {escape(relative(folder))}"
        return folder

    def _pieces(self) -> ipywidgets.VBox:
        self.drop = controls.MidiDrop()
        self.progress = ipywidgets.FloatProgress(0.0, min=0.0, max=1.0, layout={"width": "20em"})
        self.cancel = ipywidgets.Button(description="stop", disabled=True)
        self.piece_message = ipywidgets.HTML().add_class("nnss-piece-message")
        self.roll = ipywidgets.Image(format="png", layout={"max_width": "560px", "display": "none"})
        self.compared = players.Comparison(gain=self.gain, longest=controls.MOST_SECONDS)
        self.drop.on_msg(self._dropped)
        self.cancel.on_click(lambda _: self._stop.set())
        bar = ipywidgets.HBox([self.progress, self.cancel, self.piece_message])
        return ipywidgets.VBox([self.drop, bar, self.roll.add_class("nnss-roll")])

    def _dropped(self, _: object, message: dict, buffers: list) -> None:
        def job() -> None:
            name, content = controls.received(message, buffers)
            self.piece_message.value = f"reading {escape(name)} ..."
            self._render(name, controls.read_upload(name, content))

        self._begin(job)

    def play(self, midi: str) -> None:
        """Render a score of the project or a MIDI file of this machine, and show it like a dropped file."""
        notes = read_notes(midi)
        controls.check_piece(notes)
        self._submit(lambda: self._render(Path(midi).name, notes)).result()
        self.progress.value = 0.0

    def _render(self, name: str, notes: Sequence[Note]) -> None:
        """Show notes as a piano roll, and their sound by the network beside the instrument's."""
        renderer = self._piece_renderer
        model = renderer.model
        notes = on_grid(notes, grid_of(model.instrument))
        check_range(notes, model.low, model.high, f"the model {model.name}")
        self.piece_message.value = f"{escape(name)}: {len(notes)} notes"
        sounds, fit = {"prediction (network)": self._sound(notes, renderer, self.progress)}, ""
        if can_play(model.instrument):
            sounds["target (instrument)"] = load_instrument(model.instrument).render(notes)
            length = max(map(len, sounds.values()))
            sounds = {title: np.pad(sound, (0, length - len(sound))) for title, sound in sounds.items()}
            prediction, target = sounds.values()
            snr = metrics.snr_db(target, prediction)
            fit = f", correlation {metrics.correlation(target, prediction):.4f}, SNR {snr:.1f} dB"
        self._check_stop()
        self.compared.gain = min(self.gain, 0.9 / max(players.peak_of(sounds.values()), 1e-9))  # the page shows it
        self.compared.show(sounds)
        self.roll.value = roll_picture(notes, self.compared.seconds)
        self.roll.layout.display = ""
        self._piece = name, notes
        self.piece_message.value = f"{escape(name)}: {len(notes)} notes, {self.compared.seconds:.1f} s{fit}"

    def _sound(
        self, notes: Sequence[Note], renderer: VoiceRenderer, progress: ipywidgets.FloatProgress | None = None
    ) -> np.ndarray:
        """Return the network's sound of notes; raises `Stopped` if the visitor stops it."""
        blocks, samples = [], max(note.end for note in notes) * SAMPLE_RATE
        for block in synthesize(notes, renderer.model, by=renderer, progress=False):
            self._check_stop()
            blocks.append(block)
            if progress is not None:
                progress.value = min(1.0, sum(map(len, blocks)) / samples)
        return np.concatenate(blocks)

    def _check_stop(self) -> None:
        if self._stop_running.is_set():
            raise Stopped

    def _begin(self, job: Callable[[], object], message: ipywidgets.HTML | None = None) -> None:
        """Stop the previous job and run this one after it, while keys sound; the page shows its errors."""
        message = message or self.piece_message
        if not self._last.done():
            message.value = "stopping what was rendered before ..."
        self._submit(lambda: self._run(job, message))

    def _submit(self, job: Callable[[], object]) -> Future:
        """Stop the previous job and return the future of this one, which begins as soon as that has stopped."""
        self._stop.set()
        self._stop = stop = threading.Event()

        def begin() -> None:
            self._stop_running = stop
            job()

        self._last = self._worker.submit(begin)
        return self._last

    def _run(self, job: Callable[[], object], message: ipywidgets.HTML) -> None:
        self.cancel.disabled = False
        try:
            self._check_stop()  # several files dropped at once: only the last is rendered
            job()
        except InputError as error:
            message.value = _bad(str(error))
        except Stopped:
            message.value = "stopped"
        except Exception as error:  # the page shows the line, the log the rest
            message.value = _bad(f"{type(error).__name__}: {error}")
            traceback.print_exc()
        finally:
            self.cancel.disabled = True
            self.progress.value = 0.0

    def wait(self) -> None:
        """Wait until the last job is done or has stopped."""
        wait([self._last])


def _keys(piano: Piano) -> ipywidgets.VBox:
    """Return a piano under its velocity, pedal and volume; above the page it is said if the kernel is gone."""
    velocity = ipywidgets.IntSlider(piano.velocity, 1, 127, description="velocity")
    pedal = ipywidgets.ToggleButton(description="pedal", tooltip="the sustain pedal; also the space bar")
    volume = ipywidgets.FloatSlider(20 * np.log10(piano.gain), min=-20, max=20, step=0.1, description="volume, dB")
    volume.readout_format = ".1f"
    ipywidgets.link((velocity, "value"), (piano, "velocity"))
    ipywidgets.link((pedal, "value"), (piano, "pedal"))
    volume.observe(lambda change: piano.set_trait("gain", 10 ** (change["new"] / 20)), names="value")
    return ipywidgets.VBox([controls.Watch(), ipywidgets.HBox([velocity, pedal, volume]), piano])


def roll_picture(notes: Sequence[Note], seconds: float) -> bytes:
    """Return the piano roll of notes over `seconds` as a PNG, its axes where the spectrograms have theirs."""
    figure, ax = plots.piano_roll(notes, players.picture_axes())
    ax.set_xlim(0, seconds or 1)
    return plots.png(figure)


def _bad(text: str) -> str:
    return f'<span style="color: var(--jp-error-color1, #b00020)">{escape(text)}</span>'
