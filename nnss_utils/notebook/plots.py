"""Figures: each helper draws on given axes or makes its own, returns (figure, axes) and never shows or saves.

One visual language: frequency in Hz (logarithmic where partials must be distinguished), time in seconds, magma for
levels of sound, viridis for all other scales, one colour for each role, and the style of nnss.mplstyle.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral, stft
from nnss_utils.midi import Note
from nnss_utils.paths import atomic_write

COLOURS = {  # Okabe and Ito (2008), told apart by colour-blind readers
    "target": "#0072b2",
    "prediction": "#d55e00",
    "codification": "#009e73",
    "Griffin-Lim": "#cc79a7",
    "true magnitudes": "#e69f00",
    "silence": "#000000",
    "reference": "#7f7f7f",
}
LEVELS = "magma"
COLUMNS, ROWS, SHADES = 320, 128, 24  # of a spectrogram's picture: notebooks stay small


def use_style() -> None:
    """Draw all figures from now on in the project's style (nnss.mplstyle); a notebook calls it first."""
    plt.style.use(Path(__file__).with_name("nnss.mplstyle"))


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a figure as a PNG, whole or not at all, and return the path."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=dpi, bbox_inches="tight", facecolor="white")
    return path


def png(figure: Figure, dpi: int = 80) -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return `ax` with its figure, or new ones of `size` inches."""
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=size, dpi=80, layout="constrained")


def colour_of(name: str) -> str:
    """Return the colour of the role that a name begins with, as in "codification (at the target's energy)"."""
    return next((colour for role, colour in COLOURS.items() if name.startswith(role)), COLOURS["reference"])


def piano_roll(notes: Sequence[Note], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw notes as bars, pitch over time, brighter where louder."""
    figure, ax = axes_or_new(ax, (10, 3))
    colours = plt.get_cmap("viridis")([note.velocity / 127 for note in notes])
    ax.barh([n.pitch for n in notes], [n.duration for n in notes], left=[n.start for n in notes], color=colours)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 3, 4, 6, 10]))
    ax.yaxis.set_major_formatter(lambda pitch, _: f"{pitch_name(round(pitch))} {pitch:.0f}")
    ax.set(xlabel="time, s", ylabel="key and MIDI pitch")
    return figure, ax


def pitch_name(pitch: int) -> str:
    """Return a MIDI pitch as musicians name it: 60 is C4."""
    return ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")[pitch % 12] + str(pitch // 12 - 1)


def spectrogram(
    sound: np.ndarray,
    power: float = 1 / 8,
    top: float = 22050.0,
    title: str = "",
    ax: Axes | None = None,
    scale: str = "linear",
    brightest: float | None = None,
) -> tuple[Figure, Axes]:
    """Draw |STFT|^power of a sound (samples,), power 1/8 as in the seed's pictures, up to `top` Hz.

    scale: "linear" or "log" in frequency; brightest: the value of the last colour, of the sound itself if None.
    """
    figure, ax = axes_or_new(ax, (7, 2.8))
    S = spectrogram_levels(sound, power, scale)
    rows, columns = S.shape
    edges = log_edges() if scale == "log" else np.linspace(0, SAMPLE_RATE / 2, rows + 1)
    times = np.linspace(0, len(sound) / SAMPLE_RATE, columns + 1)
    colours = plt.get_cmap(LEVELS, SHADES)
    if scale == "log":
        ax.pcolormesh(times, edges, S, cmap=colours, vmin=0, vmax=brightest, rasterized=True)
        ax.set_yscale("log")
        hertz(ax.yaxis, LOG_TICKS)
    else:
        extent = (0, times[-1], 0, edges[-1])
        ax.imshow(
            S, origin="lower", aspect="auto", cmap=colours, extent=extent, interpolation="nearest", vmax=brightest
        )
        hertz(ax.yaxis, range(0, 22_000, 5000))
    ax.set(xlabel="time, s", ylabel="Hz", title=title, ylim=(edges[0], min(top, edges[-1])))
    return figure, ax


LOG_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


def hertz(axis: Axis, ticks: Iterable[float]) -> None:
    """Label frequencies on an axis as "500", "1k", "10k"."""
    ticks = list(ticks)
    axis.set_ticks(ticks, [f"{f / 1000:g}k" if f >= 1000 else f"{f:g}" for f in ticks])
    axis.set_ticks([], minor=True)


def log_edges() -> np.ndarray:
    """Return the edges (ROWS + 1,) in Hz of a picture's rows on a logarithmic scale of frequency."""
    return np.geomspace(40, SAMPLE_RATE / 2, ROWS + 1)


def spectrogram_levels(sound: np.ndarray, power: float = 1 / 8, scale: str = "linear") -> np.ndarray:
    """Return |STFT|^power of a sound as a picture of about ROWS frequencies and COLUMNS times."""
    step = int(np.clip(len(sound) // COLUMNS, 64, 1024))
    spectral = Spectral(4096 if scale == "log" else 2048, step, bins=0)
    group = max(1, -(-len(sound) // step) // COLUMNS)
    stretch = step * group * max(1, 2**20 // (step * group))  # samples at a time: memory does not grow with the sound
    parts = [sound[at : at + stretch] for at in range(0, max(1, len(sound)), stretch)]
    S = np.concatenate([_loudest(np.abs(stft(part, spectral)) ** power, group) for part in parts]).T
    if scale != "log":
        return _loudest(S, max(1, S.shape[0] // ROWS))
    bins = log_edges() * spectral.frame_length / SAMPLE_RATE
    first = np.minimum(np.round(bins).astype(int), len(S) - 1)
    last = np.maximum(first[1:], first[:-1] + 1)
    return np.stack([S[low:high].max(axis=0) for low, high in zip(first, last, strict=False)])


def _loudest(values: np.ndarray, group: int) -> np.ndarray:
    """Return the maximum of each `group` of rows: thinning that loses no partial and no onset."""
    rows = len(values) // group * group
    return values[:rows].reshape(-1, group, values.shape[1]).max(axis=1)


def spectrogram_grid(pictures: dict[str, np.ndarray], seconds: float, columns: int = 4) -> tuple[Figure, np.ndarray]:
    """Draw normalized magnitudes (frames, bins) by their names, each on its own scale of levels."""
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3 * columns, 2.4 * rows), dpi=72, sharex=True, sharey=True, layout="constrained"
    )
    for ax in np.ravel(axes)[len(pictures) :]:
        ax.axis("off")
    for ax, (name, S) in zip(np.ravel(axes), pictures.items(), strict=False):
        S = _loudest(_loudest(S, max(1, len(S) // 160)).T, max(1, S.shape[1] // ROWS))
        colours = plt.get_cmap(LEVELS, SHADES)
        extent = (0, seconds, 0, SAMPLE_RATE / 2)
        ax.imshow(S, origin="lower", aspect="auto", cmap=colours, extent=extent, interpolation="nearest")
        ax.set_title(name, fontsize=10)
    for ax in np.atleast_2d(axes)[:, 0]:
        ax.set_ylabel("Hz")
    return figure, axes


def compare_spectrograms(sounds: dict[str, np.ndarray], power: float = 1 / 8, top: float = 22050.0) -> tuple:
    """Draw the spectrograms of several sounds side by side on one scale of frequency."""
    figure, axes = plt.subplots(
        1, len(sounds), figsize=(4 * len(sounds), 3.2), sharey=True, dpi=72, layout="constrained"
    )
    for ax, (name, sound) in zip(np.atleast_1d(axes), sounds.items(), strict=True):
        spectrogram(sound, power, top, name, ax)
        ax.label_outer()
    return figure, axes


def waveforms(sounds: dict[str, np.ndarray], start: float, seconds: float, ax: Axes | None = None) -> tuple:
    """Draw several sounds over each other from `start` (s) for `seconds`; names in COLOURS get theirs."""
    figure, ax = axes_or_new(ax, (8, 2.8))
    first = max(0, round(start * SAMPLE_RATE))
    for number, (name, sound) in enumerate(sounds.items()):
        part = sound[first : first + round(seconds * SAMPLE_RATE)]
        t = (first + np.arange(len(part))) / SAMPLE_RATE
        colour = colour_of(name)
        ax.plot(t, part, label=name, color=colour, linewidth=1 if number else 3)
    ax.set(xlabel="time, s", ylabel="amplitude")
    ax.legend(loc="upper right")
    return figure, ax
