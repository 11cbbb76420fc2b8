"""Diagrams: the method's block diagram, and any network's layers (notebooks 01_codification and 07_claims)."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnss_utils.model.backend import keras
from nnss_utils.notebook.plots import axes_or_new


def diagram() -> tuple[Figure, Axes]:
    """Draw the method: from MIDI to sound, and what training compares. A voice's tone is a sound, which the STFT turns
    into spectra; its ringing impulse is given as spectra directly."""
    figure, ax = plt.subplots(figsize=(10, 4.6))
    ax.set(xlim=(0, 11), ylim=(0, 5.3))
    ax.axis("off")
    rows = {
        4.0: {1: "tone\nall modes", 2: "STFT"},
        2.7: {0: "MIDI\nnotes", 1: "ringing\nimpulse", 3: "power\n$|S|^p e^{j\\angle S}$", 4: "network\ngains, mask",
              5: "denormalize\n$|S|^{1/p}$", 6: "inverse\nSTFT", 7: "sum of\nvoices"},
        0.5: {1: "instrument\nWAV", 2: "STFT", 3: "power", 4: "loss"},
    }  # fmt: skip
    for y, boxes in rows.items():
        for i, text in boxes.items():
            colour = "#e4f2e9" if y == 0.5 and i < 4 else "#fbe3d4" if text.startswith("network") else "#e6eef5"
            x = 0.1 + 1.37 * i
            ax.add_patch(plt.Rectangle((x, y), 1.17, 0.9, facecolor=colour, edgecolor="#333333", linewidth=1))
            ax.text(x + 0.585, y + 0.45, text, ha="center", va="center", fontsize=8.5)
    steps = [(4.45, 1, 2), (3.15, 0, 1), (3.15, 1, 3), *((3.15, i, i + 1) for i in range(3, 7)),
             *((0.95, i, i + 1) for i in range(1, 4))]  # fmt: skip
    arrows = [((1.27 + 1.37 * first, y), (0.1 + 1.37 * last, y)) for y, first, last in steps]
    # notes -> tone, STFT -> power; notes -> instrument, network -> loss
    arrows += [((1.0, 3.6), (1.47, 4.3)), ((4.01, 4.4), (4.6, 3.6))]
    arrows += [((0.7, 2.7), (1.47, 1.1)), ((6.18, 2.7), (6.18, 1.4))]
    for start, end in arrows:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#333333"})
    ax.text(6.3, 2.0, "training", fontsize=9, style="italic")
    ax.text(4.4, 4.9, "each voice alone, frames counted from its note-on", fontsize=9, style="italic")
    ax.text(0.1, 0.1, "prediction = sum of gain x mode + mask x impulse, complex: no Griffin-Lim", fontsize=9)
    return figure, ax


def network(model: keras.Model, title: str = "", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw a Keras functional model: a box for each layer, below its inputs, with its shape and parameters."""
    figure, ax = axes_or_new(ax, (6, 4.5))
    nodes = model.operations  # its layers and operations, each after its inputs
    parents = {n.name: [t._keras_history.operation.name for t in n._inbound_nodes[0].input_tensors] for n in nodes}
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth[name] for name in parents[node.name]), default=-1)
    rows = [[name for name in depth if depth[name] == d] for d in range(max(depth.values()) + 1)]
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
