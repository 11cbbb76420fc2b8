"""Long recordings are mapped from disk: the same samples, in little memory."""

import numpy as np
import pytest
import soundfile
from conftest import small_settings

from nnss_utils import training, wav
from nnss_utils.errors import InputError
from nnss_utils.pair import Pair, moved
from nnss_utils.sampling import PairSampler
from nnss_utils.tuning import estimate_tuning
from nnss_utils.wav import read_wav, stored, unload


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
    unload(audio)
    np.testing.assert_array_equal(audio, sound[:, 0])
    for samples in (700, -700, 0):
        expected = np.pad(sound[:, 0], (samples, 0)) if samples > 0 else sound[-samples:, 0]
        np.testing.assert_array_equal(moved(audio, samples), expected)
    unload(sound)  # what is not mapped stays as it is


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
    assert training.fingerprint(settings, mapped) == training.fingerprint(settings, pair)
    tuning = estimate_tuning(pair.audio, pair.notes, 60, 64)
    a, b = (PairSampler(p.notes, p.audio, settings, tuning).batch(3) for p in (pair, mapped))
    np.testing.assert_array_equal(a.target, b.target)
