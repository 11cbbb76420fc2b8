"""The sliders: each move changes sound and picture, and no picture is blank."""

import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import carriers
from nnss_utils.dsp.stft import Spectral
from nnss_utils.evaluation.metrics import snr_db
from nnss_utils.evaluation.tradeoffs import with_error
from nnss_utils.notebook import sliders

T = np.arange(SAMPLE_RATE) / SAMPLE_RATE
SOUND = (0.3 * np.sin(2 * np.pi * 440 * T) * np.exp(-3 * T)).astype(np.float32)


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)


def phase_figure() -> sliders.PhaseFigure:
    return sliders.PhaseFigure(SOUND, Spectral(2048, 1, heterodyne=False), 0.3, 0.02)


def test_the_phase_slider_draws_the_bin_it_is_at():
    box = sliders.phase_slider(phase_figure(), 20)
    slider, image = box.children
    before = image.value
    assert len(np.unique(pixels(before), axis=0)) > 50
    slider.value = 600
    assert image.value != before and len(np.unique(pixels(image.value), axis=0)) > 50
    assert slider.max == 1023 and not slider.continuous_update


def test_the_drawn_phases_are_the_sounds():
    """A sine in the middle of a bin: raw it turns at its frequency, heterodyned it stands still."""
    k = 20
    sine = np.sin(2 * np.pi * k / 2048 * np.arange(SAMPLE_RATE)).astype(np.float32)
    figure = sliders.PhaseFigure(sine, Spectral(2048, 1, heterodyne=False), 0.3, 0.02)
    figure.draw(k)
    raw, turned = figure.raw.get_ydata(), figure.turned.get_ydata()
    assert np.ptp(turned) < 1e-2 and np.ptp(raw) > 1.9
    np.testing.assert_allclose(np.sin(np.arcsin(turned)), turned)
    assert figure.starts[0] == round(0.3 * SAMPLE_RATE)
    assert len(carriers(figure.spectral, figure.starts)) == len(raw)


def test_the_animation_is_whole_and_moves(tmp_path):
    path = phase_figure().animate(tmp_path / "phase.gif", range(0, 1024, 256))
    with Image.open(path) as gif:
        assert gif.n_frames == 4 and gif.is_animated
        first = np.asarray(gif.convert("RGB"))
        gif.seek(3)
        assert (np.asarray(gif.convert("RGB")) != first).any()


def test_the_normalization_slider_changes_sound_picture_and_words():
    box = sliders.normalization_slider(SOUND, Spectral(2048, 512))
    (power, error, said), compared = box.children[0].children, box.children[1]
    assert power.options == tuple(sliders.POWERS)
    seen = set()
    original = compared.columns[0]
    for name in sliders.POWERS:
        power.value = name
        result = compared.columns[1]
        sound, rate = soundfile.read(io.BytesIO(result["sound"]))
        assert rate == SAMPLE_RATE and np.abs(sound).max() > 0.01
        assert len(np.unique(pixels(result["picture"]), axis=0)) > 50
        seen.add((result["sound"], result["picture"], said.value))
    assert len(seen) == len(sliders.POWERS)
    error.value = -60
    assert compared.columns[0] == original and "SNR" in said.value and "-60 dB" in said.value
    assert [column["title"] for column in compared.columns] == ["original", "with the error"]


def test_a_result_too_loud_is_said():
    assert "clipped" in sliders.normalization_slider(SOUND, Spectral(), gain=30).children[1].note


def test_where_there_is_no_kernel_pictures_stand_for_the_sliders():
    for box in (sliders.phase_slider(phase_figure()), sliders.normalization_slider(SOUND, Spectral(2048, 512))):
        bundle = box._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert len(np.unique(pixels(base64.b64decode(bundle["image/png"])), axis=0)) > 50


@pytest.mark.parametrize("power", [1.0, 0.5, 0.125, "log"])
def test_no_error_leaves_the_sound_and_more_error_leaves_less(power):
    spectral = Spectral(2048, 512)
    assert snr_db(SOUND, with_error(SOUND, power, -150, spectral)) > 60
    levels = [snr_db(SOUND, with_error(SOUND, power, error, spectral)) for error in (-60, -40, -20)]
    assert levels[0] > levels[1] > levels[2]


def test_without_a_power_the_error_is_the_sounds_own():
    """At power 1 noise at -20 dB in every bin is noise at -20 dB in the sound, less what overlapping frames average."""
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    whole = Spectral(2048, 2048, "rectangular", bins=1025)
    assert snr_db(noise, with_error(noise, 1.0, -20, whole)) == pytest.approx(20, abs=0.2)
