"""Figures of the laboratory: drawn where they are asked for, and not blank."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from test_laboratory import fake

from nnss_utils import SAMPLE_RATE
from nnss_utils.model.networks import ARCHITECTURES
from nnss_utils.notebook import charts, diagrams, plots

SOUND = np.sin(np.arange(SAMPLE_RATE) * 0.2).astype(np.float32)


def colours(figure) -> int:
    picture = Image.open(io.BytesIO(plots.png(figure))).convert("RGB")
    plt.close(figure)
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_can_be_drawn(architecture):
    figure, ax = diagrams.network(ARCHITECTURES[architecture].build(2, 8, 32), "a network")
    assert len(ax.texts) >= 5 and ax.get_title() == "a network" and colours(figure) > 20


def test_the_learning_map_shows_what_is_learnt():
    figure, ax = charts.learning_map(fake(lambda f: f < 1000) | {"row": "x"})
    values = ax.collections[0].get_array().reshape(-1, 3)
    assert values[0].max() == 1 and values[-1].max() == 0
    assert ax.get_xscale() == ax.get_yscale() == "log" and colours(figure) > 20


def test_helpers_draw_on_the_axes_they_are_given():
    figure, ax = plt.subplots()
    assert charts.learning_map(fake(0.5) | {"row": "x"}, ax=ax) == (figure, ax)
    plt.close(figure)
    figure, ax = plt.subplots()
    assert plots.spectrogram(SOUND, ax=ax)[1] is ax
    plt.close(figure)


def test_a_grid_of_spectrograms_has_a_picture_for_each_name():
    figure, axes = plots.spectrogram_grid({str(i): np.random.default_rng(i).random((50, 128)) for i in range(5)}, 1.0)
    assert [len(ax.images) for ax in np.ravel(axes)] == [1] * 5 + [0] * 3 and colours(figure) > 20
