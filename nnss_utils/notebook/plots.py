"""Figures: each helper draws on given axes or makes its own, returns (figure, axes) and never shows or saves. One
visual language: frequency in Hz (logarithmic where partials must be distinguished), time in seconds, magma for levels
of sound, viridis for all other scales, one colour for each role, and the style of nnss.mplstyle."""

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

# Okabe and Ito (2008): colour-blind readers can distinguish them
COLOURS = {"target": "#0072b2", "prediction": "#d55e00", "codification": "#009e73", "Griffin-Lim": "#cc79a7",
           "true magnitudes": "#e69f00", "silence": "#000000", "reference": "#7f7f7f"}  # fmt: skip
LEVELS = "magma"
SHADES = plt.get_cmap(LEVELS, 24)  # of pictures: few, so that notebooks stay small
KEYS = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
COLUMNS, ROWS = 320, 128  # of a spectrogram's picture: notebooks stay small


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
    return (ax.figure, ax) if ax else plt.subplots(figsize=size, dpi=80, layout="constrained")


def colour_of(name: str) -> str:
    """Return the colour of the role that a name begins with, as in "codification (at the target's energy)"."""
    return next((colour for role, colour in COLOURS.items() if name.startswith(role)), COLOURS["reference"])


def piano_roll(notes: Sequence[Note], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw notes as bars, pitch over time, brighter where louder."""
    figure, ax = axes_or_new(ax, (10, 3))
    colours = plt.get_cmap("viridis")([note.velocity / 127 for note in notes])
    ax.barh([n.pitch for n in notes], [n.duration for n in notes], left=[n.start for n in notes], color=colours)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 3, 4, 6, 10]))
    ax.yaxis.set_major_formatter(lambda pitch, _: f"{KEYS[round(pitch) % 12]}{round(pitch) // 12 - 1} {pitch:.0f}")
    ax.set(xlabel="time, s", ylabel="key and MIDI pitch")
    return figure, ax


def spectrogram(
    sound: np.ndarray, title: str = "", ax: Axes | None = None, scale: str = "linear", brightest: float | None = None
) -> tuple[Figure, Axes]:
    """Draw |STFT|^(1/8) of a sound (samples,), the power of the seed's pictures, over time and frequency. scale:
    "linear" or "log" in frequency; brightest: the value of the last colour, of the sound itself if None."""
    figure, ax = axes_or_new(ax, (7, 2.8))
    S, log = spectrogram_levels(sound, scale), scale == "log"
    edges = log_edges() if log else np.linspace(0, SAMPLE_RATE / 2, len(S) + 1)
    times = np.linspace(0, len(sound) / SAMPLE_RATE, S.shape[1] + 1)
    draw = ax.pcolormesh if log else ax.pcolorfast  # an image: faster, on linear scales only
    draw(times, edges, S, cmap=SHADES, vmin=0 if log else None, vmax=brightest)
    ax.set(yscale=scale, xlabel="time, s", ylabel="Hz", title=title, ylim=edges[[0, -1]])
    hertz(ax.yaxis, LOG_TICKS if log else range(0, 22_000, 5000))
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


def spectrogram_levels(sound: np.ndarray, scale: str = "linear") -> np.ndarray:
    """Return |STFT|^(1/8) of a sound as a picture of about ROWS frequencies and COLUMNS times."""
    step = int(np.clip(len(sound) // COLUMNS, 64, 1024))
    spectral = Spectral(4096 if scale == "log" else 2048, step, bins=0)
    group = max(1, -(-len(sound) // step) // COLUMNS)
    stretch = step * group * max(1, 2**20 // (step * group))  # samples at a time: memory does not grow with the sound
    parts = [sound[at : at + stretch] for at in range(0, max(1, len(sound)), stretch)]
    S = np.concatenate([_loudest(np.abs(stft(part, spectral)) ** (1 / 8), group) for part in parts]).T
    if scale != "log":
        return _loudest(S, max(1, S.shape[0] // ROWS))
    bins = np.round(log_edges() * spectral.frame_length / SAMPLE_RATE).astype(int)
    return np.maximum.reduceat(S, np.minimum(bins, len(S) - 1))[:-1]


def brightest_of(sounds: Iterable[np.ndarray], scale: str) -> float:
    """Return the highest level in the spectrograms of sounds (samples,), 1 if all are silent."""
    return float(max((spectrogram_levels(sound, scale).max(initial=0) for sound in sounds), default=0)) or 1.0


def _loudest(values: np.ndarray, group: int) -> np.ndarray:
    """Return the maximum of each `group` of rows: thinning that loses no partial and no onset."""
    rows = len(values) // group * group
    return np.maximum.reduceat(values[:rows], range(0, rows, group))


def spectrogram_grid(pictures: dict[str, np.ndarray], seconds: float) -> tuple[Figure, np.ndarray]:
    """Draw normalized magnitudes (frames, bins) by their names, four in a row, each on its own scale of levels."""
    rows = -(-len(pictures) // 4)
    figure, axes = _side_by_side(rows, 4, (12, 2.4 * rows))
    for ax in np.ravel(axes)[len(pictures) :]:
        ax.axis("off")
    for ax, (name, S) in zip(np.ravel(axes), pictures.items(), strict=False):
        S = _loudest(_loudest(S, max(1, len(S) // 160)).T, max(1, S.shape[1] // ROWS))
        extent = (0, seconds, 0, SAMPLE_RATE / 2)
        ax.imshow(S, origin="lower", aspect="auto", cmap=SHADES, extent=extent, interpolation="nearest")
        ax.set_title(name, fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("Hz")
    return figure, axes


def compare_spectrograms(sounds: dict[str, np.ndarray]) -> tuple[Figure, np.ndarray]:
    """Draw the spectrograms of several sounds side by side on one scale of frequency."""
    figure, axes = _side_by_side(1, len(sounds), (4 * len(sounds), 3.2))
    for ax, (name, sound) in zip(axes[0], sounds.items(), strict=True):
        spectrogram(sound, name, ax)
        ax.label_outer()
    return figure, axes[0]


def _side_by_side(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    options = {"figsize": size, "dpi": 72, "sharex": True, "sharey": True, "layout": "constrained"}
    return plt.subplots(rows, columns, squeeze=False, **options)


def waveforms(sounds: dict[str, np.ndarray], start: float, seconds: float, ax: Axes | None = None) -> tuple:
    """Draw several sounds over each other from `start` (s) for `seconds`; names in COLOURS get theirs."""
    figure, ax = axes_or_new(ax, (8, 2.8))
    first = max(0, round(start * SAMPLE_RATE))
    for number, (name, sound) in enumerate(sounds.items()):
        part = sound[first : first + round(seconds * SAMPLE_RATE)]
        t = (first + np.arange(len(part))) / SAMPLE_RATE
        ax.plot(t, part, label=name, color=colour_of(name), linewidth=1 if number else 3)
    ax.set(xlabel="time, s", ylabel="amplitude")
    ax.legend(loc="upper right")
    return figure, ax
