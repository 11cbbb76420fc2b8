"""A live view of training in a page: the loss, and a test piece that becomes clearer (notebook 05_train)."""

import time
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from nnss_utils.errors import in_page
from nnss_utils.midi import Note
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.notebook import charts, plots
from nnss_utils.synthesis.render import render
from nnss_utils.training.checkpoint import Progress

FIRST_PROBE = 2.0  # s of training
SHARE = 0.06  # of the time that probing may take


class TrainingView:
    """A picture in the page, drawn again as training runs: the loss, and the test piece by the network."""

    def __init__(self, notes: Sequence[Note], target: np.ndarray | None = None) -> None:
        """Show `notes`, which must lie in the pair's range (none: the loss alone), beside their `target` sound."""
        self.notes, self.target = list(notes), target
        self.image = ipywidgets.Image(format="png", layout={"max_width": "1000px"})
        self.next_probe = FIRST_PROBE
        self.probes = 0

    def due(self, progress: Progress) -> bool:
        """Return whether it is time to draw."""
        return progress.seconds >= self.next_probe

    def __call__(self, progress: Progress, model: TrainedModel) -> None:
        """Draw the picture of the training as it is; takes SHARE of the time."""
        started = time.monotonic()
        sound = render(self.notes, model, progress=False) if self.notes else None
        self.image.value = picture(progress, sound, self.target)
        self.probes += 1
        self.next_probe = progress.seconds + max(FIRST_PROBE, (time.monotonic() - started) / SHARE)


def picture(progress: Progress, sound: np.ndarray | None, target: np.ndarray | None) -> bytes:
    """Return as a PNG the loss by step, and the spectrograms of the test piece by the network and the instrument."""
    sounds = {"the network now": sound, "the instrument": target}
    sounds = {title: each for title, each in sounds.items() if each is not None}
    figure = Figure(figsize=(4 + 3.8 * len(sounds), 2.9), dpi=80, layout="constrained")
    first, *axes = figure.subplots(1, 1 + len(sounds), squeeze=False)[0]
    charts.loss_curves(progress.curves(), first)
    first.set_title(f"step {progress.step}, {progress.seconds:.0f} s")
    brightest = plots.brightest_of(sounds.values() if target is None else [target], "log")
    for ax, (title, each) in zip(axes, sounds.items(), strict=True):
        plots.spectrogram(each, title, ax, "log", brightest)
    return plots.png(figure)


def live_view(notes: Sequence[Note], play: Callable[[Sequence[Note]], np.ndarray] | None = None) -> TrainingView | None:
    """Show a `TrainingView` and return it; None where there is no page. play: the instrument, whose sound of `notes` is
    shown beside the network's."""
    if not in_page():
        return None
    view = TrainingView(notes, play(notes) if notes and play else None)
    display(view.image)
    return view
