"""Players side by side: the sound that is heard is the sound that was given, at one loudness, beside its picture."""

import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from nnss_utils import SAMPLE_RATE
from nnss_utils.notebook import players, plots

T = np.arange(SAMPLE_RATE) / SAMPLE_RATE
SINE = (0.3 * np.sin(2 * np.pi * 440 * T)).astype(np.float32)
NOISE = (0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE // 2)).astype(np.float32)


def heard(column: dict) -> np.ndarray:
    sound, rate = soundfile.read(io.BytesIO(column["sound"]))
    assert rate == SAMPLE_RATE
    return sound


def colours(picture: bytes) -> int:
    return len(np.unique(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3), axis=0))


def test_a_sound_is_heard_as_it_is_to_16_bits():
    sound = np.concatenate([SINE, NOISE])
    np.testing.assert_allclose(heard(players.listen({"x": sound}).columns[0]), sound, atol=2**-15)


def test_nothing_is_made_louder_unless_it_is_asked_for():
    sounds = {"soft": 0.1 * SINE, "loud": SINE}
    plain = players.listen(sounds)
    assert [np.abs(heard(c)).max() for c in plain.columns] == pytest.approx([0.03, 0.3], abs=1e-4)
    assert plain.note == ""
    louder = players.listen(sounds, gain=2)
    assert [np.abs(heard(c)).max() for c in louder.columns] == pytest.approx([0.06, 0.6], abs=1e-4)
    assert louder.note == "loudness +6.0 dB for all"
    peak = players.listen(sounds, gain="peak")
    assert [np.abs(heard(c)).max() for c in peak.columns] == pytest.approx([0.09, 0.9], abs=1e-4)
    assert "clipped" in players.listen(sounds, gain=5).note
    assert players.listen({"silence": np.zeros(100)}, gain="peak").gain == 1


def test_only_what_changes_is_drawn_anew(monkeypatch):
    compared = players.listen({"a": SINE, "b": NOISE}, reference="a")
    before = compared.columns
    drawn = []
    draw = players.spectrogram_picture
    monkeypatch.setattr(players, "spectrogram_picture", lambda *a: drawn.append(1) or draw(*a))
    compared.show({"a": SINE, "b": 0.5 * NOISE})
    assert len(drawn) == 1
    assert compared.columns[0] == before[0] and compared.columns[1]["picture"] != before[1]["picture"]
    compared.show({"a": SINE, "b": 0.5 * NOISE})
    assert len(drawn) == 1


def test_pictures_share_time_and_colours():
    compared = players.listen({"long": SINE, "short": SINE[: SAMPLE_RATE // 4]})
    assert compared.seconds == 1
    sheet = np.asarray(Image.open(io.BytesIO(compared.columns[1]["picture"])).convert("L")).astype(int)
    height, width = sheet.shape
    left, right = (round(part * width) for part in compared.axes)
    row = sheet[round(height * 0.1) : round(height * 0.8), left + 2 : right - 2]
    assert row[:, : row.shape[1] // 5].max() > 100  # sound in the first quarter
    assert row[:, row.shape[1] // 2 :].max() < 30  # black after it
    assert colours(compared.columns[0]["picture"]) > 30


def test_titles_name_files_and_long_sounds_are_cut():
    compared = players.listen({"what / it: gets": np.tile(SINE, 3)}, longest=2)
    assert compared.columns[0]["file"] == "what___it__gets.flac" and compared.seconds == 2


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros(1), np.full(5000, np.nan), np.full(5000, 1e30), np.ones(100)])
def test_whatever_a_sound_is_it_can_be_shown(sound):
    compared = players.listen({"odd": sound})
    assert len(heard(compared.columns[0])) == max(1, len(sound))
    assert Image.open(io.BytesIO(compared.still())).size[0] > 100


def test_a_page_without_a_kernel_gets_a_picture_of_all():
    bundle = players.listen({"a": SINE, "b": NOISE, "c": SINE, "d": NOISE})._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    sheet = base64.b64decode(data["image/png"])
    assert Image.open(io.BytesIO(sheet)).size[1] > 2 * 200 and colours(sheet) > 30  # two rows of two


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_sine_stands_in_its_row(scale):
    levels = plots.spectrogram_levels(SINE, scale=scale)
    edges = plots.log_edges() if scale == "log" else np.linspace(0, SAMPLE_RATE / 2, len(levels) + 1)
    at = int(levels.mean(axis=1).argmax())
    assert edges[max(at - 1, 0)] < 440 < edges[at + 2]


def test_long_sounds_are_drawn_in_stretches_without_a_seam():
    long = np.tile(SINE, 100)  # more than two stretches
    levels = plots.spectrogram_levels(long)
    loudest = levels.max(axis=0)
    assert len(loudest) >= plots.COLUMNS - 2 and loudest.min() > 0.9 * loudest.max()
