"""Charts of measures: bands, losses, learning maps, tuning, benchmarks; the style and the colours are plots.py's."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnss_utils.dsp.stft import third_octave_edges
from nnss_utils.evaluation.metrics import third_octave_energies
from nnss_utils.notebook.plots import COLOURS, LEVELS, LOG_TICKS, axes_or_new, colour_of, hertz


def learning_map(result: dict, top: float = 22050.0, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a laboratory result's variance explained by bin (Hz) over training time (s), both on log scales."""
    figure, ax = axes_or_new(ax, (5, 3.4))
    seconds = np.array([look["seconds"] for look in result["snapshots"]])
    explained = np.clip([look["melody"]["explained"] for look in result["snapshots"]], 0, 1)
    edges = (np.array(result["bin_edges"]) + 0.5) * result["bin_hz"]
    between = np.sqrt(seconds[1:] * seconds[:-1])
    times = np.concatenate([[seconds[0] ** 2 / between[0]], between, [seconds[-1]]])
    mesh = ax.pcolormesh(times, edges, explained.T, vmin=0, vmax=1, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=ax, label="variance explained")
    ax.set(xscale="log", yscale="log", xlabel="training, s", ylabel="Hz", title=result["row"])
    hertz(ax.yaxis, (100, 1000, 10_000))
    ax.set_ylim(40, top)
    return figure, ax


def band_bars(results: dict[str, dict], key: str = "snr_db", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw one measure of the octave bands for several results side by side."""
    figure, ax = axes_or_new(ax, (10, 3.5))
    width = 0.8 / len(results)
    for i, (name, result) in enumerate(results.items()):
        bands = result["bands"]
        x = np.arange(len(bands)) + (i - (len(results) - 1) / 2) * width
        ax.bar(x, [b[key] for b in bands], width, label=name, color=colour_of(name))
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
    figure, ax = axes_or_new(ax, (6, 3.5))
    ax.imshow(values, origin="lower", aspect="auto", cmap=LEVELS, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < (low + high) / 2 else "black"
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.set_xticks(np.arange(len(columns)) - 0.5, columns, fontsize=8)
    ax.set_yticks(np.arange(len(rows)) - 0.5, rows, fontsize=8)
    return figure, ax


def third_octaves(sounds: dict[str, np.ndarray], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the energy of sounds (samples,) in thirds of octaves, in dB under the strongest of the first sound."""
    figure, ax = axes_or_new(ax, (8, 3.2))
    levels = {
        name: np.array([10 * np.log10(e + 1e-30) for e in third_octave_energies(s)]) for name, s in sounds.items()
    }
    strongest = next(iter(levels.values())).max()
    tops = third_octave_edges()[1:]
    for number, (name, level) in enumerate(levels.items()):
        colour, width = colour_of(name), 1 if number else 3
        ax.semilogx(tops, level - strongest, "o-", markersize=3, label=name, color=colour, linewidth=width)
    ax.axhline(-60, color="black", linewidth=0.8, linestyle=":")
    hertz(ax.xaxis, LOG_TICKS[1:])
    ax.set(xlabel="upper edge of the band, Hz", ylabel="dB", ylim=(-110, 5))
    ax.legend(fontsize=8)
    return figure, ax


def loss_curves(training: dict, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw training and validation loss over steps from the content of a training.json."""
    figure, ax = axes_or_new(ax, (8, 3.5))
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
