"""Controls of the app (notebook 10_play): the model selector, the place where visitors drop MIDI files, and the line
that appears when the kernel is gone."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

from nnss_utils.errors import InputError
from nnss_utils.midi import SHOWN_BYTES, Note, read_midi
from nnss_utils.model.model_file import find_model, model_names, read_metadata
from nnss_utils.model.settings import Settings
from nnss_utils.notebook.players import BROWSER, STYLE

MOST_SECONDS = 600.0  # of music that the page renders
MOST_NOTES = 20_000
MOST_AT_ONCE = 128  # notes
MOST_BYTES = SHOWN_BYTES  # of a dropped file: what is read in two seconds, without a word about progress


def playable_models() -> dict[str, Settings]:
    """Return the settings of all models that make one voice at a time, by name: those that keys can play."""
    found = {}
    for name in model_names():
        with contextlib.suppress(InputError, KeyError, TypeError):  # leave out files that can't be read
            found[name] = Settings.from_dict(read_metadata(find_model(name))["settings"])
    return {name: settings for name, settings in found.items() if settings.network.kind.per_voice}


def power_name(power: float | str) -> str:
    """Return a power as people write it: "1/8", "0.3", "log"."""
    if isinstance(power, str):
        return power
    return f"1/{1 / power:g}" if power < 1 and (1 / power).is_integer() else f"{power:g}"


def power_variants(models: Mapping[str, Settings], name: str) -> dict[str, str]:
    """Return the names of models with the network and codification of `name`, by their powers, the highest first. Of
    several models with one power, `name` itself or else the first by name is listed."""
    powers: dict[float | str, str] = {}
    for each in sorted(models, key=lambda each: (each != name, each)):
        kinds = [(models[one].network, models[one].codification.kind) for one in (each, name)]
        if kinds[0] == kinds[1]:
            powers.setdefault(models[each].training.power, each)
    order = sorted(powers, key=lambda power: 1 if isinstance(power, str) else -power)  # words last
    return {power_name(power): powers[power] for power in order}


class ModelSelector(ipywidgets.VBox):
    """Two dropdowns, networks and powers: a choice in either calls `use` with the network's name."""

    def __init__(self, models: Mapping[str, Settings], name: str, use: Callable[[str], None]) -> None:
        """Offer `models` by name, with `name` selected; the page shows an `InputError` of `use` under the menus."""
        self.models, self.use = models, use
        names = {f"{each}: {s.network.architecture}, power {power_name(s.training.power)}": each
                 for each, s in models.items()}  # fmt: skip
        self.network = ipywidgets.Dropdown(options=names, value=name, description="network", layout={"width": "26em"})
        self.power = ipywidgets.Dropdown(description="power", layout={"width": "12em"})
        self.message = ipywidgets.Label()
        super().__init__([ipywidgets.HBox([self.network, self.power]), self.message])
        self.power.observe(self._choose_power, names="value")
        self._show_powers(name)
        self.network.observe(self._choose, names="value")

    def _show_powers(self, name: str) -> None:
        variants = power_variants(self.models, name)
        self.power.unobserve(self._choose_power, names="value")  # setting options selects one
        self.power.options, self.power.value = variants, name
        self.power.observe(self._choose_power, names="value")
        alone = "; 05_train with -p power 0.125 trains another" if len(variants) == 1 else ""
        self.message.value = f"normalization powers of this network: {', '.join(variants)}{alone}"

    def _choose_power(self, change: dict) -> None:
        self.network.value = change["new"]

    def _choose(self, change: dict) -> None:
        self.message.value = f"loading {change['new']} ..."
        try:
            self.use(change["new"])
        except InputError as error:
            self.message.value = str(error)
        else:
            self._show_powers(change["new"])


class MidiDrop(anywidget.AnyWidget):
    """A place in the page to drop or choose a MIDI file; it sends {type, name} and the file's bytes. It refuses large
    files: 50 MB would cut the connection to the server, as they do in ipywidgets' FileUpload."""

    _esm, _css = BROWSER / "drop.js", STYLE
    label = traitlets.Unicode("Drop a MIDI file here, or choose one").tag(sync=True)
    accept = traitlets.Unicode(".mid,.midi,audio/midi").tag(sync=True)
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)


class Watch(anywidget.AnyWidget):
    """A line over the page that appears when the kernel no longer answers: a page without kernel looks alive."""

    _esm, _css = BROWSER / "watch.js", STYLE
    text = traitlets.Unicode(
        "The network does not answer: its kernel is busy or gone. If this line stays, reload the page "
        "(in JupyterLab: run the notebook again)."
    ).tag(sync=True)

    def __init__(self) -> None:
        """Answer whatever the page asks."""
        super().__init__()
        self.on_msg(lambda widget, content, buffers: self.send({"type": "here"}))


def received(message: dict, buffers: Sequence[memoryview]) -> tuple[str, bytes]:
    """Return the name and the bytes of a dropped file; raises `InputError` if it was too large to be sent."""
    name = Path(str(message.get("name", "")).replace("\\", "/")).name[:80] or "the file"
    content = bytes(buffers[0]) if buffers else b""
    size = max(len(content), float(message.get("bytes") or 0))
    if size > MOST_BYTES:
        raise InputError(f"{name} has {size / 1e6:.1f} MB; give a MIDI file of at most {MOST_BYTES / 1e6:g} MB")
    return name, content


def read_upload(name: str, content: bytes) -> list[Note]:
    """Return the notes of a MIDI file's bytes; raises `InputError` that names the file, but no path of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload.mid"
        path.write_bytes(content)
        try:
            notes = read_midi(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
    check_piece(notes)
    return notes


def check_piece(notes: Sequence[Note]) -> None:
    """Raise `InputError` if a piece is too long for a page, or has too many notes, in all or at once."""
    minutes = max(note.end for note in notes) / 60
    at_once = most_at_once(notes)
    bounds = ((minutes, MOST_SECONDS / 60, "minutes of music"), (at_once, MOST_AT_ONCE, "notes sound at once"),
              (len(notes), MOST_NOTES, "notes"))  # fmt: skip
    for value, most, unit in bounds:
        if value > most:
            raise InputError(f"{value:.0f} {unit}: this page renders at most {most:g}; render it with 06_evaluation")


def most_at_once(notes: Sequence[Note]) -> int:
    """Return the largest number of notes that sound at once; one that ends where another starts does not count."""
    events = sorted([(note.start, 1) for note in notes] + [(note.end, -1) for note in notes])
    return int(np.cumsum([change for _, change in events]).max(initial=0))
