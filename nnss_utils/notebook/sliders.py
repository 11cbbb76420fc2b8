"""Sliders to look at phases and to hear normalizations (notebooks 02 and 03). Callbacks run when a slider is released,
and answer well within half a second."""

import io
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import carriers
from nnss_utils.dsp.normalization import LOGARITHM
from nnss_utils.dsp.stft import Spectral, stft
from nnss_utils.errors import InputError
from nnss_utils.evaluation import metrics
from nnss_utils.evaluation.tradeoffs import with_error
from nnss_utils.notebook import players, plots
from nnss_utils.paths import atomic_write

POWERS = {"1": 1.0, "1/2": 1 / 2, "1/4": 1 / 4, "1/8": 1 / 8, "1/16": 1 / 16, "1/32": 1 / 32, "logarithm": LOGARITHM}


class PhaseFigure:
    """Two panels: a sound's spectrogram with one bin marked, and the sine of this bin's phase over a short time."""

    def __init__(self, sound: np.ndarray, spectral: Spectral, start: float, seconds: float) -> None:
        """Draw a sound's (samples,) spectrogram; `draw` marks a bin and shows its phase from `start` for `seconds`."""
        self.spectral = spectral
        first = round(start * SAMPLE_RATE)
        part = sound[first : first + round(seconds * SAMPLE_RATE) + spectral.frame_length]
        self.spectra = stft(part, spectral, pad=False)
        if not len(self.spectra):
            raise InputError(
                f"from {start:g} s on, a sound of {len(sound) / SAMPLE_RATE:.2f} s has no frame of "
                f"{spectral.frame_length} samples; begin earlier"
            )
        self.starts = first + spectral.frame_step * np.arange(len(self.spectra))
        self.figure = Figure(figsize=(10, 3), layout="constrained")
        left, right = self.figure.subplots(1, 2)
        plots.spectrogram(sound, title="|S|^(1/8)", ax=left)
        self.mark = left.axhline(0, color="white", linewidth=1.2)
        times, silent = (self.starts + spectral.frame_length / 2) / SAMPLE_RATE, np.zeros(len(self.starts))
        (self.raw,) = right.plot(times, silent, color=plots.COLOURS["reference"], linewidth=0.7)
        (self.turned,) = right.plot(times, silent, color=plots.COLOURS["prediction"], linewidth=2)
        right.set(xlabel="time, s", ylabel="sine of the phase", ylim=(-1.1, 1.6), title="bin 0")  # keeps its room
        right.legend([self.raw, self.turned], ["as the STFT gives it", "heterodyned"], loc="upper right", ncols=2)
        self.right = right
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # laid out once: half the time of each answer

    def draw(self, k: int, dpi: int = 80) -> bytes:
        """Return the picture of bin `k` as the bytes of a PNG."""
        values = self.spectra[:, k]
        carrier = carriers(self.spectral, self.starts)[:, k]
        frequency = k * self.spectral.rate / self.spectral.frame_length
        self.mark.set_ydata([frequency, frequency])
        self.raw.set_ydata(np.sin(np.angle(values)))
        self.turned.set_ydata(np.sin(np.angle(values * carrier)))
        self.right.set_title(f"bin {k}, {frequency:.0f} Hz")
        return plots.png(self.figure, dpi)

    def animate(self, path: Path, bins: range) -> Path:
        """Write the pictures of several bins as an animated GIF, whole or not at all, and return the path."""
        pictures = [Image.open(io.BytesIO(self.draw(k, dpi=64))).convert("P", colors=32) for k in bins]
        with atomic_write(path) as part:
            pictures[0].save(part, save_all=True, append_images=pictures[1:], duration=120, loop=0)
        return path


def phase_slider(picture: PhaseFigure, first: int = 12) -> players.Pictured:
    """Return a slider over the bins and the picture of the one chosen."""
    slider = ipywidgets.IntSlider(first, 0, picture.spectral.bins - 1, description="bin", continuous_update=False)
    slider.layout.width = "60%"
    image = ipywidgets.Image(value=picture.draw(first), format="png")
    slider.observe(lambda change: image.set_trait("value", picture.draw(change["new"])), names="value")
    return players.Pictured([slider, image], lambda: image.value)


def normalization_slider(sound: np.ndarray, spectral: Spectral, gain: float = 1.0) -> players.Pictured:
    """Return sliders for the power and the error of a sound's (samples,) normalized spectrogram, and their effect. Both
    players have the gain `gain`, so that loudness can be compared; both pictures have the original's colours."""
    power = ipywidgets.SelectionSlider(options=list(POWERS), value="1/8", description="power", continuous_update=False)
    error = ipywidgets.IntSlider(-20, -60, 0, description="error, dB", continuous_update=False)
    report = ipywidgets.Label()
    compared = players.Comparison(gain=gain, reference="original")

    def show(_: object = None) -> None:
        changed = np.nan_to_num(with_error(sound, POWERS[power.value], error.value, spectral))
        compared.show({"original": sound, "with the error": changed})
        snr, lsd = metrics.snr_db(sound, changed), metrics.lsd_db(sound, changed)
        report.value = f"power {power.value}, error {error.value} dB: SNR {snr:.1f} dB, LSD {lsd:.1f} dB"

    power.observe(show, names="value")
    error.observe(show, names="value")
    show()
    return players.Pictured([ipywidgets.HBox([power, error, report]), compared], compared.still)
