"""Diagrams: the method's block diagram, and any network's layers (notebooks 01_codification and 07_claims)."""

import keras
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnss_utils.plots import axes_or_new


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
    figure, ax = axes_or_new(ax, (6, 4.5))
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
