"""Figures: each helper draws on given axes or makes its own, returns (figure, axes) and never shows or saves.

One visual language: frequency in Hz, time in seconds, magma for levels, one colour a role.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnss_utils.metrics import third_octave_edges, third_octave_energies
from nnss_utils.midi import Note
from nnss_utils.paths import whole_file
from nnss_utils.spectral import SAMPLE_RATE, Spectral, stft

COLOURS = {"target": "#0072b2", "prediction": "#d55e00", "codification": "#009e73", "reference": "#7f7f7f"}
LEVELS = "magma"
COLUMNS, ROWS, SHADES = 320, 128, 24  # of a spectrogram's picture: notebooks stay small


def use_style() -> None:
    """Draw every figure from here on in the project's style (nnss.mplstyle): what a notebook calls first."""
    plt.style.use(Path(__file__).with_name("nnss.mplstyle"))


def save_figure(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a figure as a PNG, whole or not at all, and return the path."""
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, bbox_inches="tight", facecolor="white")
    return path


def png(figure: Figure, dpi: int = 80) -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def _axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=size, dpi=80, layout="constrained")


def piano_roll(notes: Sequence[Note], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw notes as bars, pitch over time, brighter where louder."""
    figure, ax = _axes(ax, (10, 3))
    colours = plt.get_cmap("viridis")([note.velocity / 127 for note in notes])
    ax.barh([n.pitch for n in notes], [n.duration for n in notes], left=[n.start for n in notes], color=colours)
    ax.set(xlabel="time, s", ylabel="MIDI pitch")
    return figure, ax


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
    figure, ax = _axes(ax, (7, 2.8))
    S = spectrogram_levels(sound, power, scale)
    rows, columns = S.shape
    edges = log_edges() if scale == "log" else np.linspace(0, SAMPLE_RATE / 2, rows + 1)
    times = np.linspace(0, len(sound) / SAMPLE_RATE, columns + 1)
    colours = plt.get_cmap(LEVELS, SHADES)
    if scale == "log":
        ax.pcolormesh(times, edges, S, cmap=colours, vmin=0, vmax=brightest, rasterized=True)
        ax.set_yscale("log")
        ax.set_yticks(LOG_TICKS, [f"{f / 1000:g}k" if f >= 1000 else f"{f:g}" for f in LOG_TICKS])
        ax.set_yticks([], minor=True)
    else:
        extent = (0, times[-1], 0, edges[-1])
        ax.imshow(
            S, origin="lower", aspect="auto", cmap=colours, extent=extent, interpolation="nearest", vmax=brightest
        )
    ax.set(xlabel="time, s", ylabel="Hz", title=title, ylim=(edges[0], min(top, edges[-1])))
    return figure, ax


LOG_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


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


def learning_map(result: dict, top: float = 22050.0, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a laboratory result's variance explained by bin (Hz) over training time (s), both on log scales."""
    figure, ax = _axes(ax, (5, 3.4))
    seconds = np.array([look["seconds"] for look in result["snapshots"]])
    explained = np.clip([look["melody"]["explained"] for look in result["snapshots"]], 0, 1)
    edges = (np.array(result["bin_edges"]) + 0.5) * result["bin_hz"]
    between = np.sqrt(seconds[1:] * seconds[:-1])
    times = np.concatenate([[seconds[0] ** 2 / between[0]], between, [seconds[-1]]])
    mesh = ax.pcolormesh(times, edges, explained.T, vmin=0, vmax=1, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=ax, label="variance explained")
    ax.set(xscale="log", yscale="log", xlabel="training, s", ylabel="Hz", ylim=(40, top), title=result["row"])
    return figure, ax


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
    figure, ax = _axes(ax, (8, 2.8))
    first = max(0, round(start * SAMPLE_RATE))
    for number, (name, sound) in enumerate(sounds.items()):
        part = sound[first : first + round(seconds * SAMPLE_RATE)]
        t = (first + np.arange(len(part))) / SAMPLE_RATE
        colour = COLOURS.get(name, COLOURS["reference"])
        ax.plot(t, part, label=name, color=colour, linewidth=1 if number else 3)
    ax.set(xlabel="time, s", ylabel="amplitude")
    ax.legend(loc="upper right")
    return figure, ax


def band_bars(results: dict[str, dict], key: str = "snr_db", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw one measure of the octave bands for several results side by side."""
    figure, ax = _axes(ax, (10, 3.5))
    width = 0.8 / len(results)
    for i, (name, result) in enumerate(results.items()):
        bands = result["bands"]
        x = np.arange(len(bands)) + (i - (len(results) - 1) / 2) * width
        ax.bar(x, [b[key] for b in bands], width, label=name, color=COLOURS.get(name))
    ax.set_xticks(range(len(bands)), [f"{b['low_hz']}-{b['high_hz']}" for b in bands], fontsize=8)
    titles = {
        "snr_db": "complex SNR, dB",
        "level_db": "level over target, dB",
        "lsd_db": "log-spectral distance, dB",
    }
    ax.set(xlabel="band, Hz", ylabel=titles[key])
    ax.axhline(0, color="black", linewidth=0.8)
    ax.legend(fontsize=8)
    return figure, ax


def heat_map(
    values: np.ndarray, columns: list[str], rows: list[str], ax: Axes | None = None, low: float = 0, high: float = 40
) -> tuple[Figure, Axes]:
    """Draw dB (rows, columns) as coloured cells with their numbers; `columns` and `rows` name the cells' edges."""
    figure, ax = _axes(ax, (6, 3.5))
    ax.imshow(values, origin="lower", aspect="auto", cmap=LEVELS, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < (low + high) / 2 else "black"
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(np.arange(len(columns)) - 0.5, columns, fontsize=8)
    ax.set_yticks(np.arange(len(rows)) - 0.5, rows, fontsize=8)
    return figure, ax


def third_octaves(sounds: dict[str, np.ndarray], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the energy of sounds (samples,) in thirds of octaves, in dB under the strongest of the first sound."""
    figure, ax = _axes(ax, (8, 3.2))
    levels = {
        name: np.array([10 * np.log10(e + 1e-30) for e in third_octave_energies(s)]) for name, s in sounds.items()
    }
    strongest = next(iter(levels.values())).max()
    tops = third_octave_edges()[1:]
    for number, (name, level) in enumerate(levels.items()):
        colour, width = COLOURS.get(name, COLOURS["reference"]), 1 if number else 3
        ax.semilogx(tops, level - strongest, "o-", markersize=3, label=name, color=colour, linewidth=width)
    ax.axhline(-60, color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="upper edge of the band, Hz", ylabel="dB", ylim=(-110, 5))
    ax.legend(fontsize=8)
    return figure, ax


def loss_curves(training: dict, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw training and validation loss over steps from the content of a training.json."""
    figure, ax = _axes(ax, (8, 3.5))
    loss = np.asarray(training["train_curve"])
    ax.plot(
        np.arange(1, len(loss) + 1),
        loss,
        color=COLOURS["reference"],
        linewidth=0.6,
        label="training, each step",
    )
    validation = training["validation_curve"]
    ax.plot(validation["step"], validation["loss"], color=COLOURS["prediction"], label="validation")
    ax.set(xlabel="step", ylabel="loss (silence = about 1)", yscale="log")
    ax.legend()
    return figure, ax


def tuning_curves(f0_cents: np.ndarray, inharmonicity: np.ndarray, pitches: np.ndarray) -> tuple:
    """Draw a piano's tuning: cents from equal temperament and B over pitch."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
    axes[0].plot(pitches, f0_cents, ".", color=COLOURS["target"])
    axes[0].set(xlabel="MIDI pitch", ylabel="cents from equal temperament")
    axes[1].semilogy(pitches, inharmonicity, ".", color=COLOURS["target"])
    axes[1].set(xlabel="MIDI pitch", ylabel="inharmonicity B")
    return figure, axes


def diagram() -> tuple[Figure, Axes]:
    """Draw the method: from MIDI to sound, and what training compares."""
    figure, ax = plt.subplots(figsize=(10, 3.8))
    ax.set(xlim=(0, 11), ylim=(0, 4.2))
    ax.axis("off")
    top = ("MIDI\nnotes", "codification\ntone, impulse", "STFT", "power\n$|S|^p e^{j\\angle S}$", "network\nmasks",
           "denormalize\n$|S|^{1/p}$", "inverse\nSTFT", "sum of\nvoices")  # fmt: skip
    bottom = {1: "instrument\nWAV", 2: "STFT", 3: "power", 4: "loss"}
    for i, text in enumerate(top):
        colour = "#fbe3d4" if i == 4 else "#e6eef5"
        _box(ax, 0.1 + 1.37 * i, 2.7, text, colour)
        if i:
            _arrow(ax, (1.37 * i - 0.1, 3.15), (0.1 + 1.37 * i, 3.15))
    for i, text in bottom.items():
        _box(ax, 0.1 + 1.37 * i, 0.5, text, "#e4f2e9" if i < 4 else "#f3f3f3")
        start = (0.7, 2.7) if i == 1 else (1.37 * i - 0.1, 0.95)
        _arrow(ax, start, (0.1 + 1.37 * i, 0.95))
    _arrow(ax, (6.18, 2.7), (6.18, 1.4))
    ax.text(6.3, 2.0, "training", fontsize=9, style="italic")
    ax.text(0.1, 3.9, "each voice alone, frames counted from its note-on", fontsize=9, style="italic")
    ax.text(0.1, 0.1, "prediction = mask$_{tone}$ x tone + mask$_{impulse}$ x impulse, bin by bin, complex: "
            "no Griffin-Lim", fontsize=9)  # fmt: skip
    return figure, ax


def network(model: keras.Model, title: str = "", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a Keras functional model: a box for each layer, below those it hears, with its shape and parameters."""
    figure, ax = _axes(ax, (6, 4.5))
    nodes = model.operations  # its layers, and what stands between them; each after those it hears
    parents = {
        node.name: [t._keras_history.operation.name for t in node._inbound_nodes[0].input_tensors] for node in nodes
    }
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth[name] for name in parents[node.name]), default=-1)
    rows = [[node.name for node in nodes if depth[node.name] == d] for d in range(max(depth.values()) + 1)]
    place = {name: ((i + 0.5) / len(row), -d) for d, row in enumerate(rows) for i, name in enumerate(row)}
    for node in nodes:
        x, y = place[node.name]
        for name in parents[node.name]:
            ax.annotate("", (x, y + 0.3), (place[name][0], place[name][1] - 0.3), arrowprops={"arrowstyle": "->"})
        parameters = sum(weight.shape.num_elements() for weight in getattr(node, "weights", []))
        size = f"  {parameters:,}" if parameters else ""
        shape = tuple(node.output.shape[1:]) if hasattr(node.output, "shape") else "(parts)"
        text = f"{node.name}  {shape}{size}".replace("None", "frames")
        box = {"boxstyle": "round", "facecolor": "#fbe3d4" if size else "#e6eef5", "edgecolor": "#333333"}
        ax.text(x, y, text, ha="center", va="center", fontsize=7, bbox=box)
    ax.set(xlim=(0, 1), ylim=(-len(rows) + 0.4, 0.6), title=title)
    ax.axis("off")
    return figure, ax


def _box(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    ax.add_patch(plt.Rectangle((x, y), 1.17, 0.9, facecolor=colour, edgecolor="#333333", linewidth=1))
    ax.text(x + 0.585, y + 0.45, text, ha="center", va="center", fontsize=8.5)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": "#333333"})


def benchmark(result: dict) -> tuple[Figure, np.ndarray]:
    """Draw what `make bench` measured: shares of the ceiling, cost against polyphony and length, the cold start."""
    parts = result["parts"]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    (training, polyphony), (start, length) = axes
    names = {"lstm_256": "BLSTM 256", "lstm_1000": "BLSTM 1000", "mask_dense": "mask_dense", "mask_keyed": "mask_keyed"}
    for at, name in enumerate(names):
        training.bar(at, 100 * parts[name]["share"], color=COLOURS["prediction"])
        if "ratio" in parts[name]:
            training.bar(at, 100 * parts[name]["share"] / parts[name]["ratio"], 0.4, color=COLOURS["reference"])
    training.set_xticks(range(len(names)), names.values())
    training.set(ylabel="% of the matrix product's ceiling", title="training: ours, and Keras' own LSTM (grey)")
    for ax, what, label in ((polyphony, "polyphony", "voices at once"), (length, "length", "seconds of the prelude")):
        x, y = zip(*((float(n), value) for n, value in parts["cost"][what].items()), strict=True)
        ax.loglog(x, y, "o-", color=COLOURS["prediction"])
        ax.set_xticks(x, [f"{n:g}" for n in x])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.3)
        ax.set_xlabel(label)
    polyphony.set(ylabel="s of work for 1 s of sound", title="synthesis: cost against polyphony")
    length.set(ylabel="s of work", title="synthesis: cost against length")
    left = 0.0
    shades = plt.get_cmap(LEVELS)(np.linspace(0.3, 0.85, len(parts["cold_start"]["stages"])))
    for (name, seconds), colour in zip(parts["cold_start"]["stages"].items(), shades, strict=True):
        start.barh(0, seconds, left=left, color=colour, label=f"{name} {seconds:.1f} s")
        left += seconds
    start.set(xlabel="seconds", yticks=[], ylim=(-0.5, 1.8), title="from a cold start to ten seconds of sound")
    start.legend(loc="upper left")
    return figure, axes
