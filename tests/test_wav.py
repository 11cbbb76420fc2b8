"""Long recordings are mapped from disk: the same samples, in little memory."""

import errno

import fuzz
import numpy as np
import pytest
import soundfile
from conftest import small_settings

from nnss_utils.errors import InputError
from nnss_utils.instruments import wav
from nnss_utils.instruments.pair import Pair, moved
from nnss_utils.instruments.tuning import estimate_tuning
from nnss_utils.instruments.wav import read_wav, stored
from nnss_utils.paths import release_pages
from nnss_utils.training import train
from nnss_utils.training.dataset import make_dataset


def is_mapped(audio: np.ndarray) -> bool:
    while isinstance(audio, np.ndarray):
        if isinstance(audio, np.memmap):
            return True
        audio = audio.base
    return audio is not None


@pytest.fixture
def short_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(wav, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(wav, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_file_is_mapped_and_reads_the_same(tmp_path, short_limit, channels):
    rng = np.random.default_rng(0)
    sound = np.clip(0.2 * rng.standard_normal((50_000, channels)), -1, 1).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    audio = read_wav(tmp_path / "a.wav")
    assert is_mapped(audio) and not list(short_limit.iterdir())  # the file has no name any more
    np.testing.assert_array_equal(audio, sound[:, 0])
    release_pages(audio)
    np.testing.assert_array_equal(audio, sound[:, 0])
    for samples in (700, -700, 0):
        expected = np.pad(sound[:, 0], (samples, 0)) if samples > 0 else sound[-samples:, 0]
        np.testing.assert_array_equal(moved(audio, samples), expected)
    release_pages(sound)  # what is not mapped stays as it is


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_bad_samples_are_found_wherever_they_are(tmp_path, short_limit, value):
    sound = np.zeros(600_000, np.float32)
    sound[-5:] = value
    soundfile.write(tmp_path / "a.wav", sound, 44100, subtype="FLOAT")
    with pytest.raises(InputError, match=r"not numbers|silent"):
        read_wav(tmp_path / "a.wav")


def test_training_draws_the_same_from_memory_and_from_disk(pair, short_limit):
    settings = small_settings()
    mapped = Pair(pair.notes, stored([pair.audio], len(pair.audio)), pair.instrument, pair.description)
    assert is_mapped(mapped.audio) and not is_mapped(pair.audio)
    assert train.fingerprint(settings, mapped) == train.fingerprint(settings, pair)
    tuning = estimate_tuning(pair.audio, pair.notes, 60, 64)
    a, b = (make_dataset(p.notes, p.audio, settings, tuning).batch(3) for p in (pair, mapped))
    np.testing.assert_array_equal(a.target, b.target)


def written(path, audio, rate=44100, **options):
    soundfile.write(path, audio, rate, **options)
    return path


TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * 44100) / 44100).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("a.wav", {"subtype": "PCM_24"}, 1e-6, ""),
        ("a.wav", {"subtype": "DOUBLE"}, 1e-6, ""),
        ("a.flac", {}, 1e-4, ""),
        ("a.wav", {"subtype": "PCM_U8"}, 0.01, "8 bits: their noise"),
        ("a.wav", {"subtype": "ULAW"}, 0.02, "8 bits: their noise"),
        ("a.mp3", {}, 0.2, "MPEG_LAYER_III is lossy compression"),
        ("a.ogg", {}, 0.2, "VORBIS is lossy compression"),
    ],
)
def test_formats_are_read_and_what_they_lose_is_said(tmp_path, capsys, name, options, error, says):
    audio = read_wav(written(tmp_path / name, TONE, **options))
    middle = slice(44100, 2 * 44100)
    np.testing.assert_allclose(audio[middle], TONE[middle], atol=error)
    said = capsys.readouterr().out
    assert says in said and bool(said) == bool(says)


def test_clipping_is_said(tmp_path, capsys):
    read_wav(written(tmp_path / "a.wav", np.clip(3 * TONE, -1, 1)))
    (line,) = capsys.readouterr().out.splitlines()
    assert "clipped at full scale: record it again at a lower level" in line
    share = 1 - 2 / np.pi * np.arcsin(1 / 1.5)
    assert int(line.split(": ")[1].split()[0]) == pytest.approx(share * len(TONE), rel=0.02)
    read_wav(written(tmp_path / "a.wav", 1.999 * TONE))  # touches it and is not flat
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("audio", "rate", "says"),
    [
        (np.zeros(44100), 44100, "is silent"),
        (np.full(44100, np.nan), 44100, "not numbers"),
        (np.full(44100, -np.inf), 44100, "not numbers"),
        (TONE[:0], 44100, "has no samples"),
        (TONE[:1], 44100, "is silent"),
    ],
)
def test_sounds_that_are_none_are_refused(tmp_path, audio, rate, says):
    with pytest.raises(InputError, match=says):
        read_wav(written(tmp_path / "a.wav", audio, rate, subtype="FLOAT"))


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(InputError, match=r"a\.wav is empty: it has 0 bytes; export it again"):
        read_wav(tmp_path / "a.wav")


def test_no_room_for_hours_of_sound_is_said(tmp_path, short_limit, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wav.tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(InputError, match=r"has no room for .* hours of sound, .* GB \(No space left on device\)"):
        read_wav(written(tmp_path / "a.wav", TONE))


def test_mutated_headers_give_samples_or_one_line():
    outcomes = fuzz.fuzz_wav(600, seed=1)
    assert outcomes["read"] > 60 and outcomes["refused"] > 200


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (44100, 200)])
def test_a_header_that_cannot_be_is_refused(tmp_path, rate, channels):
    soundfile.write(tmp_path / "x.wav", np.full((100, channels), 0.1), rate)
    with pytest.raises(InputError, match=f"{rate} Hz and {channels} channels, which can't be"):
        read_wav(tmp_path / "x.wav")
