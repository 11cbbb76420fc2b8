"""Velocities: what a pair tells of them, tables for each that was heard, and a crossfade of two in between."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import scipy.signal
from conftest import small_settings
from hypothesis import given
from hypothesis import strategies as st

from nnss_utils.errors import InputError
from nnss_utils.evaluation import velocities
from nnss_utils.evaluation.metrics import snr_db
from nnss_utils.instruments.dynamics import MOST, Dynamics, crossfade, measure_dynamics
from nnss_utils.instruments.pair import make_pair
from nnss_utils.midi import Note
from nnss_utils.model.inputs import Voices
from nnss_utils.model.missing_keys import borrow_keys
from nnss_utils.model.model_file import load_model, save_model
from nnss_utils.model.settings import build_network, make_settings
from nnss_utils.paths import read_json
from nnss_utils.scores import scale_sequence
from nnss_utils.synthesis.render import render
from nnss_utils.synthesis.voice import VoiceRenderer
from nnss_utils.training.train import train


class TwoTimbres:
    """A piano whose soft notes are dull: a real instrument's dynamics, in short."""

    low, high, grid = 60, 64, 1

    def __init__(self, piano) -> None:
        self.piano, self.name = piano, "steinway"

    def render(self, notes):
        sounds = [self._voice(note) for note in sorted(notes)]
        return np.sum([np.pad(s, (0, max(map(len, sounds)) - len(s))) for s in sounds], axis=0, dtype=np.float32)

    def _voice(self, note):
        sound = self.piano.render([dataclasses.replace(note, velocity=127)])
        dull = scipy.signal.lfilter(*scipy.signal.butter(1, 900, fs=44100), sound)
        bright = (note.velocity - 40) / 60
        return 10 ** ((note.velocity - 127) / 60) * (bright * sound + (1 - bright) * dull)


@pytest.fixture(scope="module")
def instrument(piano):
    return TwoTimbres(piano)


@pytest.fixture(scope="module")
def touched(instrument):
    """A network that has heard two keys of five at two velocities."""
    notes = scale_sequence(60, 64, repetitions=1, longest=0.6, sustained=0, every=4, velocities="40,100")
    return train(make_pair(notes, instrument), small_settings(name="touched", steps=700, holdout=0.0))


levels = st.lists(st.floats(-60, 0), min_size=3, max_size=3).map(sorted)


@given(levels, st.integers(1, 127), st.floats(-0.4, 1))
def test_levels_lie_between_those_heard_and_go_on_outside(three, velocity, alike):
    dynamics = Dynamics(60, (30, 64, 100), (tuple(three),), ((alike, alike),))
    level = dynamics.level(60, velocity)
    assert [dynamics.level(60, v) for v in (30, 64, 100)] == pytest.approx(three)
    if 30 <= velocity <= 64:
        assert level == pytest.approx(three[0] + (three[1] - three[0]) * (velocity - 30) / 34)
    if velocity < 127:
        step = dynamics.level(60, velocity + 1) - level
        assert step >= 0 and (30 <= velocity < 100 or step <= 1)
    layers, shares = dynamics.layers(60, velocity), crossfade(velocity, (30, 64, 100))
    a, b = layers[0][1], layers[-1][1]
    assert [v for v, _ in layers] == [v for v, _ in shares]
    assert a * shares[-1][1] == pytest.approx(b * shares[0][1])  # in the crossfade's ratio
    if len(layers) == 2:  # two sounds of energy 1, as alike as that, add up to the level
        assert a**2 + b**2 + 2 * a * b * alike == pytest.approx(10 ** (level / 10))
    else:
        assert a == pytest.approx(10 ** (level / 20))


def test_levels_are_those_of_the_recording():
    notes = [Note(2.0 * n, 2.0 * n + 0.7 + 0.1 * n, 60 + 2 * (n % 2), 40 + 30 * (n // 2)) for n in range(6)]
    audio = np.zeros(14 * 44100, np.float32)
    gains = [0.1, 0.02, 0.3, 0.05, 0.5, 0.4]
    for note, gain in zip(notes, gains, strict=True):
        at = round(note.start * 44100)
        audio[at : at + 40000] = gain * np.sin(0.1 * np.arange(40000))
    dynamics = measure_dynamics(audio, notes)
    assert dynamics.velocities == (40, 70, 100) and dynamics.low == 60
    expected = 20 * np.log10(np.array([gains[::2], gains[1::2]]) / 0.5)
    np.testing.assert_allclose([dynamics.levels[0], dynamics.levels[2]], expected, atol=0.01)
    np.testing.assert_allclose(dynamics.levels[1], expected.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(dynamics.alike, 1, atol=0.01)  # the same sine
    assert measure_dynamics(audio, notes[:-1]) is None  # one key lacks a velocity
    assert measure_dynamics(audio, notes[:2]) is None  # of one velocity
    many = [Note(float(n), n + 0.5, 60, 20 + n) for n in range(MOST + 1)]
    assert measure_dynamics(audio, many) is None


def test_the_scale_gives_each_key_all_durations_at_each_velocity():
    notes = scale_sequence(
        60, 66, repetitions=1, shortest=0.1, longest=1.0, sustained=2.0, every=3, velocities="90, 30"
    )
    for key in (60, 63, 66):
        found = sorted((n.velocity, round(n.duration, 3)) for n in notes if n.pitch == key)
        assert found == [(30, 0.1), (30, 2.0), (90, 0.1), (90, 2.0)]
    assert len(notes) == 12
    for bad in ("0,20", "a", "20,,30", "128", 40):
        with pytest.raises(InputError, match="velocities"):
            scale_sequence(velocities=bad)


def test_each_heard_velocity_has_its_own_sound(touched, instrument):
    assert touched.heard.keys == (60, 61, 62, 63, 64) and touched.heard.dynamics.velocities == (40, 100)
    for key in (60, 64):
        for velocity in (40, 100):
            note = Note(0.0, 0.5, key, velocity)
            sound, target = render([note], touched, progress=False), instrument.render([note])
            assert snr_db(target, np.pad(sound, (0, 44100))[: len(target)]) > 12  # another velocity's sound: below 8


def test_between_two_velocities_both_sound_at_a_level_between(touched):
    renderer, dynamics = VoiceRenderer(touched), touched.heard.dynamics
    soft, middle, loud = (renderer.render(Note(0.0, 0.5, 60, velocity)) for velocity in (40, 70, 100))
    (_, a), (_, b) = dynamics.layers(60, 70)
    unit = [sound / 10 ** (dynamics.level(60, v) / 20) for sound, v in ((soft, 40), (loud, 100))]
    np.testing.assert_allclose(middle, a * unit[0] + b * unit[1], atol=1e-6)
    assert a == pytest.approx(b) and np.linalg.norm(soft) < np.linalg.norm(middle) < np.linalg.norm(loud)


@pytest.mark.parametrize("velocity", [20, 70, 100])
def test_a_held_key_and_a_piece_sound_as_the_note(touched, velocity):
    note, renderer = Note(0.0, 1.2, 62, velocity), VoiceRenderer(touched)
    sound = renderer.render(note)
    played = renderer.sustain(62, velocity)
    begin = np.concatenate([next(played) for _ in range(2)])[:20000]
    np.testing.assert_allclose(begin, sound[: len(begin)], atol=1e-6)
    held = round(1.2 * 44100)
    np.testing.assert_allclose(renderer.tail(62, velocity, held, held - 100), sound[held - 100 :], atol=1e-6)
    piece = render([note, Note(0.5, 0.6, 64, 55)], touched, progress=False)
    together = np.pad(sound, (0, 44100))[: len(piece)]
    other = render([Note(0.5, 0.6, 64, 55)], touched, progress=False)
    together[: len(other)] += other[: len(together)]
    np.testing.assert_allclose(piece, together, atol=1e-6)


def test_a_key_that_was_not_heard_has_velocities_too(touched):
    dull, bright = (VoiceRenderer(touched).render(Note(0.0, 0.5, 62, velocity)) for velocity in (40, 100))
    hz = np.fft.rfftfreq(16384, 1 / 44100)
    powers = [np.abs(np.fft.rfft(sound[:16384])) ** 2 for sound in (dull, bright)]
    soft, loud = (power @ hz / power.sum() for power in powers)
    assert soft < 0.9 * loud
    neighbours = [[np.linalg.norm(render([Note(0.0, 0.5, key, v)], touched, progress=False)) for key in (60, 64)]
                  for v in (40, 100)]  # fmt: skip
    for sound, (low, high) in zip((dull, bright), neighbours, strict=True):
        assert 0.7 * min(low, high) < np.linalg.norm(sound) < 1.4 * max(low, high)


def test_velocities_are_kept_in_the_file(touched, tmp_path):
    path = save_model(tmp_path / "touched.keras", touched)
    again = load_model(str(path))
    assert again.heard == touched.heard
    note = Note(0.0, 0.3, 61, 77)
    np.testing.assert_array_equal(render([note], again, progress=False), render([note], touched, progress=False))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"velocities": [40, 40]}, "do not fit"),
        ({"velocities": [100, 40]}, "do not fit"),
        ({"velocities": [0, 40]}, "velocity"),
        ({"levels": [[0.0, 1.0]]}, "do not fit"),
        ({"levels": [[0.0]] * 5}, "do not fit"),
        ({"levels": [[0.0, 1.0]] * 3, "alike": [[0.5]] * 3}, "other keys"),
        ({"alike": [[1.5]] * 5}, "correlation"),
        ({"alike": [[0.5, 0.5]] * 5}, "do not fit"),
        ({"levels": [[0.0, 1e9]] * 5}, "level"),
        ({"levels": [["x", 0.0]] * 5}, "level"),
        ({"low": 62}, "other keys"),
    ],
)
def test_a_file_with_wrong_velocities_is_refused(touched, tmp_path, change, reason):
    path = save_model(tmp_path / "touched.keras", touched)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members["nnss.json"])
    content["heard"]["dynamics"] |= change
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in (members | {"nnss.json": json.dumps(content).encode()}).items():
            archive.writestr(name, member)
    with pytest.raises(InputError, match=reason):
        load_model(str(path))


def test_tables_of_keys_and_velocities_are_counted():
    settings = make_settings(units=4)
    bins = settings.spectral.bins
    for keys, dynamics in ((1, 1), (3, 1), (3, 8), (88, 2)):
        count = build_network(settings, keys, dynamics).count_params()
        assert 0 < settings.network.least_parameters(bins, keys, dynamics) <= count
    rows = build_network(settings, 88, 2)
    assert {w.shape[0] for w in rows.weights if w.path.startswith("own_gains")} == {176}
    assert {w.shape[0] for w in rows.weights if w.path.startswith("own_high")} == {88}


def test_rows_of_a_key_follow_each_other(touched):
    voices = Voices(np.array([60, 60, 62, 64]), np.array([30, 110, 41, 90]), np.array([1, 1, 1, 1]))
    assert touched.heard.rows(voices).tolist() == [0, 1, 4, 9]
    narrow = dataclasses.replace(touched.heard, keys=(60, 64))
    assert narrow.rows(voices).tolist() == [0, 1, 2, 3]


def test_a_model_that_knows_all_its_keys_stays_as_it_is(touched):
    assert borrow_keys(touched, range(60, 65)) is touched


def test_velocities_are_measured_and_told(touched, instrument, monkeypatch, capsys):
    monkeypatch.setattr(velocities, "load_instrument", lambda name: instrument)
    monkeypatch.setattr(velocities, "SECONDS", 0.5)
    save_model(velocities.RESULTS.parent / "runs" / "touched" / "model.keras", touched)
    velocities.main(["touched", "40", "70"])
    content = read_json(velocities.RESULTS / "velocities" / "touched.json")
    heard, between = (content["velocities"][v] for v in ("40", "70"))
    assert min(heard["sampler"]) > 100 > min(heard["network"])  # the sampler has recorded it
    assert len(between["network"]) == 2 and set(content["keys"]) == {"60", "61", "62", "63", "64"}
    assert content["keys"]["60"]["loudness_db"][1] < 1.5
    told = capsys.readouterr().out
    assert f"{np.mean(between['network']):.1f}" in told and "of 5 keys" in told


def test_a_model_of_one_velocity_is_told_so(model):
    with pytest.raises(InputError, match="tells no velocities apart"):
        velocities.measure_velocities(model, [50])
    for arguments in ([], ["touched"], ["touched", "loud"], ["touched", "128"]):
        with pytest.raises(InputError, match="give one model and velocities"):
            velocities.main(arguments)
