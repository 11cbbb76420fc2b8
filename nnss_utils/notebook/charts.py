"""Charts of measures: bands, losses, learning maps, tuning, benchmarks; the style and the colours are plots.py's."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnss_utils.dsp.stft import third_octave_edges
from nnss_utils.evaluation.metrics import third_octave_energies
from nnss_utils.notebook.plots import COLOURS, LEVELS, LOG_TICKS, axes_or_new, colour_of, hertz


def learning_map(result: dict, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a laboratory result's variance explained by bin (Hz) over training time (s), both on log scales."""
    figure, ax = axes_or_new(ax, (5, 3.4))
    seconds = np.array([probe["seconds"] for probe in result["snapshots"]])
    explained = np.clip([probe["melody"]["explained"] for probe in result["snapshots"]], 0, 1)
    edges = (np.array(result["bin_edges"]) + 0.5) * result["bin_hz"]
    between = np.sqrt(seconds[1:] * seconds[:-1])
    times = np.concatenate([[seconds[0] ** 2 / between[0]], between, [seconds[-1]]])
    mesh = ax.pcolormesh(times, edges, explained.T, vmin=0, vmax=1, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=ax, label="variance explained")
    ax.set(xscale="log", yscale="log", xlabel="training, s", ylabel="Hz", title=result["row"], ylim=(40, 22050))
    hertz(ax.yaxis, (100, 1000, 10_000))
    return figure, ax


def band_bars(results: dict[str, dict]) -> tuple[Figure, Axes]:
    """Draw the complex SNR in octave bands of several results side by side."""
    figure, ax = axes_or_new(None, (10, 3.5))
    width = 0.8 / len(results)
    for i, (name, result) in enumerate(results.items()):
        bands = result["bands"]
        x = np.arange(len(bands)) + (i - (len(results) - 1) / 2) * width
        ax.bar(x, [band["snr_db"] for band in bands], width, label=name, color=colour_of(name))
    ax.set_xticks(range(len(bands)), [f"{band['low_hz']}-{band['high_hz']}" for band in bands], fontsize=8)
    ax.set(xlabel="band, Hz", ylabel="complex SNR, dB")
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


def single_notes(rows: dict[str, dict]) -> tuple[Figure, np.ndarray]:
    """Draw what evaluation.single_notes measured: SNR at each velocity, and at each duration and register."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
    for ax, name, label in ((left, "velocities", "velocity"), (right, "durations", "note held, s")):
        x, of_value = [float(value) for value in rows[name]], list(rows[name].values())
        registers = {low: [] for low, _ in of_value[0]["registers"]}
        for row in of_value:
            for low, snr in row["registers"]:
                registers[low].append(snr)
        for (low, snr), shade in zip(registers.items(), np.linspace(0.1, 0.9, len(registers)), strict=True):
            ax.plot(x, snr, linewidth=1, color=plt.get_cmap(LEVELS)(shade), label=f"keys from {low}")
        ax.plot(x, [row["snr_db"] for row in of_value], "o-", color=COLOURS["prediction"], label="all keys")
        ax.set_xlabel(label)
        ax.grid(alpha=0.3)
    left.set(ylabel="SNR, dB", ylim=(0, 1.05 * left.get_ylim()[1]))
    right.set_xscale("log")
    right.set_xticks(x, [f"{value:g}" for value in x])
    right.set_xticks([], minor=True)
    right.legend(fontsize=7, ncols=2)
    return figure, np.array([left, right])


def third_octaves(sounds: dict[str, np.ndarray], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the energy of sounds (samples,) in thirds of octaves, in dB under the strongest of the first sound."""
    figure, ax = axes_or_new(ax, (8, 3.2))
    levels = {name: 10 * np.log10(np.array(third_octave_energies(s)) + 1e-30) for name, s in sounds.items()}
    strongest = next(iter(levels.values())).max()
    for number, (name, level) in enumerate(levels.items()):
        style = {"label": name, "color": colour_of(name), "linewidth": 1 if number else 3}
        ax.semilogx(third_octave_edges()[1:], level - strongest, "o-", markersize=3, **style)
    ax.axhline(-60, color="black", linewidth=0.8, linestyle=":")
    hertz(ax.xaxis, LOG_TICKS[1:])
    ax.set(xlabel="upper edge of the band, Hz", ylabel="dB", ylim=(-110, 5))
    ax.legend(fontsize=8)
    return figure, ax


def loss_curves(training: dict, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw training and validation loss over steps from the content of a training.json."""
    figure, ax = axes_or_new(ax, (8, 3.5))
    loss, validation = training["train_curve"], training["validation_curve"]
    ax.plot(range(1, len(loss) + 1), loss, color=COLOURS["reference"], linewidth=0.6, label="training, each step")
    ax.plot(validation["step"], validation["loss"], color=COLOURS["prediction"], label="validation")
    ax.set(xlabel="step", ylabel="loss (silence = about 1)", yscale="log")
    ax.legend()
    return figure, ax


def tuning_curves(f0_cents: np.ndarray, inharmonicity: np.ndarray, pitches: np.ndarray) -> tuple:
    """Draw a piano's tuning: cents from equal temperament and B over pitch."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
    labels = ("cents from equal temperament", "inharmonicity B")
    for ax, values, label in zip(axes, (f0_cents, inharmonicity), labels, strict=True):
        ax.plot(pitches, values, ".", color=COLOURS["target"])
        ax.set(xlabel="MIDI pitch", ylabel=label)
    axes[1].set_yscale("log")
    return figure, axes


def benchmark(result: dict) -> tuple[Figure, np.ndarray]:
    """Draw what `make bench` measured: shares of the ceiling, cost against polyphony and length, the cold start."""
    parts = result["parts"]
    figure, ((training, polyphony), (start, length)) = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for name in ("lstm_256", "lstm_1000", "mask_dense", "modal"):
        part, label = parts[name], name.replace("lstm_", "BLSTM ")
        training.bar(label, 100 * part["share"], color=COLOURS["prediction"])
        if "ratio" in part:
            training.bar(label, 100 * part["share"] / part["ratio"], 0.4, color=COLOURS["reference"])
    training.set(ylabel="% of the matrix product's ceiling", title="training: ours, and Keras' own LSTM (grey)")
    for ax, measured, label in (
        (polyphony, "polyphony", "voices at once"),
        (length, "length", "seconds of the prelude"),
    ):
        x, y = [float(n) for n in parts["cost"][measured]], list(parts["cost"][measured].values())
        ax.loglog(x, y, "o-", color=COLOURS["prediction"])
        ax.set_xticks(x, [f"{n:g}" for n in x])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.3)
        ax.set(xlabel=label, ylabel="s of work", title=f"synthesis: cost against {measured}")
    polyphony.set_ylabel("s of work for 1 s of sound")
    stages = parts["cold_start"]["stages"]
    shades, ends = plt.get_cmap(LEVELS)(np.linspace(0.3, 0.85, len(stages))), np.cumsum(list(stages.values()))
    for (name, seconds), end, colour in zip(stages.items(), ends, shades, strict=True):
        start.barh(0, seconds, left=end - seconds, color=colour, label=f"{name} {seconds:.1f} s")
    start.set(xlabel="seconds", yticks=[], ylim=(-0.5, 1.8), title="from a cold start to ten seconds of sound")
    start.legend(loc="upper left")
    return figure, np.array(figure.axes).reshape(2, 2)
