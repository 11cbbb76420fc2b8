"""WAV files, by soundfile: read with checks, written whole and never clipped; long sounds are memory-mapped."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, WriteError, check_choice
from nnss_utils.paths import CACHE, atomic_write, existing_file, relative, writing

MOST_IN_MEMORY = 60 * SAMPLE_RATE  # samples of one sound
LOSSY = ("MPEG", "VORBIS", "OPUS", "ADPCM", "GSM")  # in the names of formats and subtypes
RATES, MOST_CHANNELS = (2000, 1_000_000), 64  # Hz; of a file's header
EIGHT_BITS = ("PCM_U8", "PCM_S8", "ULAW", "ALAW")
FULL_SCALE = 0.999
SILENT = 1e-4
SOFTER = 0.01  # than the loudest channel: one without the instrument
DC_OFFSET = 1e-3  # mean of the samples; less does no harm
BLOCK = 10 * SAMPLE_RATE  # samples that are read at a time
SUBTYPES = {"16-bit": "PCM_16", "float": "FLOAT"}


def read_wav(path: str | Path) -> np.ndarray:
    """Return a sound file's left channel (the right one where only that sounds) at 44.1 kHz without DC offset, float32
    (samples,); print what is changed or lost. Raises `InputError` for a file that is missing, unreadable, empty, silent
    or not all numbers."""
    path = existing_file(path, "WAV file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: it has 0 bytes; export it again")
    try:
        with soundfile.SoundFile(path) as file:
            if not RATES[0] <= file.samplerate <= RATES[1] or file.channels > MOST_CHANNELS:
                said = f"{file.samplerate} Hz and {file.channels} channels"
                raise InputError(f"{path} says that it has {said}, which can't be; export it again")
            survey = _survey(file)
            channel = int(np.argmax(survey.loudness >= SOFTER * survey.loudness.max()))
            _check_survey(survey, path)
            for remark in _remarks(file, survey, channel):
                print(f"{relative(path)}: {remark}")
            offset = survey.means[channel] if abs(survey.means[channel]) >= DC_OFFSET else 0.0
            file.seek(0)
            blocks = file.blocks(BLOCK, dtype="float32", always_2d=True)
            samples = (block[:, channel] - np.float32(offset) for block in blocks)
            rate = file.samplerate
            if rate == SAMPLE_RATE:
                return stored(samples, survey.samples)
            return resampled(samples, rate, survey.samples)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:  # TypeError: a raw file tells no rate
        reason = getattr(error, "error_string", error)
        raise InputError(f"{path} is not a readable sound file ({reason}); give a WAV") from None


@dataclass(frozen=True)
class _Survey:
    """What a whole file has: samples, and of each channel its peak, mean, clipped samples and loudness (the root mean
    square around the mean), all (channels,)."""

    samples: int
    peaks: np.ndarray
    means: np.ndarray
    clipped: np.ndarray
    loudness: np.ndarray


def _survey(file: soundfile.SoundFile) -> _Survey:
    """Read a sound file once, in blocks."""
    samples, peaks, sums, squares, clipped = 0, *np.zeros((4, file.channels))
    for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
        samples += len(block)
        peak = np.abs(block).max(axis=0, initial=0)
        peaks, sums = np.maximum(peaks, peak), sums + block.sum(axis=0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(axis=0)
        clipped += [clipped_samples(block[:, i]) if peak[i] >= FULL_SCALE else 0 for i in range(file.channels)]
    means, power = sums / max(1, samples), squares / max(1, samples)
    return _Survey(samples, peaks, means, clipped, np.sqrt(np.maximum(0, power - means**2)))


def _check_survey(survey: _Survey, path: Path) -> None:
    """Raise `InputError` for a file without usable sound."""
    if not survey.samples:
        raise InputError(f"{path} has no samples; export it again")
    if not np.all(np.isfinite(survey.peaks)):
        raise InputError(f"{path} has samples that are not numbers; export it again")
    if np.all((survey.peaks < SILENT) | (survey.loudness < SILENT / 100)):
        raise InputError(f"{path} is silent; export it with the instrument sounding")


def _remarks(file: soundfile.SoundFile, survey: _Survey, channel: int) -> Iterator[str]:
    """Yield what a file's reading changes or loses."""
    if channel:
        yield f"channel {channel + 1} of {file.channels} is used: the others before it are silent"
    elif file.channels > 1:
        yield f"{file.channels} channels; the left one is used (a mix would cancel partials)"
    if any(word in f"{file.format} {file.subtype}" for word in LOSSY):
        yield f"{file.subtype} is lossy compression: what it removes can't be learnt; give a WAV"
    if file.subtype in EIGHT_BITS:
        yield "8 bits: their noise, 50 dB below full scale, hides quieter sound; give 16 bits or more"
    if file.samplerate != SAMPLE_RATE:
        yield f"{file.samplerate} Hz: resampled to {SAMPLE_RATE} Hz"
        if file.samplerate < SAMPLE_RATE:
            yield f"it has nothing above {file.samplerate / 2000:g} kHz, and neither will what learns from it"
    if abs(survey.means[channel]) >= DC_OFFSET:
        yield f"a DC offset of {survey.means[channel]:.4f} is removed"
    if survey.clipped[channel]:
        yield f"{survey.clipped[channel]:.0f} samples are clipped at full scale: record it again at a lower level"


def resampled(blocks: Iterable[np.ndarray], rate: float, samples: int) -> np.ndarray:
    """Return blocks of float32 at `rate` Hz, `samples` in all, as one array at 44.1 kHz, in time with the original."""
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="VHQ")
    parts = (stream.resample_chunk(block) for block in blocks)
    rest = (stream.resample_chunk(np.zeros(0, np.float32), last=True) for _ in range(1))  # made after the parts
    return stored(itertools.chain(parts, rest), round(samples * SAMPLE_RATE / rate))


def clipped_samples(part: np.ndarray) -> int:
    """Return how many samples of a sound (samples,) lie at full scale, three or more in a row with the same sign."""
    full = np.where(np.abs(part) >= FULL_SCALE, np.sign(part), 0)
    same = np.concatenate([[False], (full[1:] == full[:-1]) & (full[1:] != 0), [False]])
    edges = np.flatnonzero(np.diff(same.astype(np.int8)))
    lengths = edges[1::2] - edges[::2] + 1
    return int(lengths[lengths >= 3].sum())


def stored(blocks: Iterable[np.ndarray], samples: int) -> np.ndarray:
    """Return float32 blocks, `samples` in all, as one array (samples,), mapped from a temporary file if long."""
    if samples <= MOST_IN_MEMORY:
        return np.concatenate([np.zeros(0, np.float32), *(block.copy() for block in blocks)])
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=CACHE) as file:  # deleted with the last array that uses it
        try:
            for block in blocks:
                file.write(np.ascontiguousarray(block, np.float32).data)
            file.flush()
        except OSError as error:
            sound = f"{samples / SAMPLE_RATE / 3600:.1f} hours of sound, {4 * samples / 1e9:.1f} GB ({error.strerror})"
            raise InputError(f"{relative(CACHE)} has no room for {sound}; make room and run it again") from None
        return np.memmap(file, np.float32, "r").view(np.ndarray)


def write_wav(path: Path, blocks: Iterable[np.ndarray] | np.ndarray, output: str = "16-bit") -> Path:
    """Write float32 blocks as a mono WAV, "16-bit" or "float", whole or not at all, and return the path; a peak above 1
    is scaled to 1."""
    check_choice("output", output, tuple(SUBTYPES))
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".", dir=path.parent))
        unscaled = Path(folder) / "float.wav"
        blocks = [blocks] if isinstance(blocks, np.ndarray) else blocks
        peak = _write_blocks(unscaled, blocks, "FLOAT", path.parent)
        scale = 1 / peak if peak > 1 else 1.0
        if scale < 1:
            print(f"{relative(path)}: peak {peak:.2f} is above 1; scaled by {20 * np.log10(scale):.1f} dB")
        with atomic_write(path) as part, soundfile.SoundFile(unscaled) as source:
            parts = source.blocks(10 * SAMPLE_RATE, dtype="float32")
            _write_blocks(part, (block * np.float32(scale) for block in parts), SUBTYPES[output], path.parent)
    return path


@contextlib.contextmanager
def _libsndfile(folder: Path) -> Iterator[None]:
    """Turn an error of libsndfile that writes into a folder into a `WriteError` of one line."""
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or error.strerror
        room = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB of room"
        what = f"no sound can be written into {relative(folder)} ({reason})"
        raise WriteError(f"{what}, {room}; make room", reason) from None


def _write_blocks(path: Path, blocks: Iterable[np.ndarray], subtype: str, folder: Path) -> float:
    """Write blocks as a WAV for a folder, which an error names, and return their peak."""
    peak = 0.0
    with _libsndfile(folder), soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, format="WAV") as file:
        for block in blocks:
            if not np.all(np.isfinite(block)):
                raise InputError("the sound has values that are not numbers; train the model again, more slowly")
            file.write(block)
            peak = max(peak, float(np.abs(block).max(initial=0)))
    return peak
