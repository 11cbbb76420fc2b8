"""WAV files, by soundfile: read with checks, written whole and never clipped; long sounds are memory-mapped."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, check_choice
from nnss_utils.paths import CACHE, atomic_write, relative

MOST_IN_MEMORY = 600 * SAMPLE_RATE  # samples of one sound
LOSSY = ("MPEG", "VORBIS", "OPUS", "ADPCM", "GSM")  # in the names of formats and subtypes
EIGHT_BITS = ("PCM_U8", "PCM_S8", "ULAW", "ALAW")
WARNINGS = (  # of channels, of lossy compression, of 8 bits
    "{0.channels} channels; the left one is used (a mix would cancel partials)",
    "{0.subtype} is lossy compression: what it removes can't be learnt; give a WAV",
    "8 bits: their noise, 50 dB below full scale, hides quieter sound; give 16 bits or more",
)
FULL_SCALE = 0.999
SUBTYPES = {"16-bit": "PCM_16", "float": "FLOAT"}


def read_wav(path: str | Path) -> np.ndarray:
    """Return a sound file's left channel, float32 (samples,); print which parts of the sound are lost. Raises
    `InputError` for a file that is missing, unreadable, silent, not at 44.1 kHz, or not all numbers."""
    path = Path(str(path))
    if not path.is_file():
        raise InputError(f"WAV file {path} does not exist; give the path of a 44.1 kHz WAV file")
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != SAMPLE_RATE:
                raise InputError(f"{path} has {file.samplerate} Hz; convert it to {SAMPLE_RATE} Hz and give that file")
            kind = f"{file.format} {file.subtype}"
            applies = (file.channels > 1, any(word in kind for word in LOSSY), file.subtype in EIGHT_BITS)
            warnings = [text.format(file) for text in itertools.compress(WARNINGS, applies)]
            peaks, clipped = [0.0], [0]

            def left_channel() -> Iterator[np.ndarray]:
                for part in file.blocks(10 * SAMPLE_RATE, dtype="float32", always_2d=True):
                    peaks.append(np.max(np.abs(part[:, 0])))
                    clipped.append(clipped_samples(part[:, 0]) if peaks[-1] >= FULL_SCALE else 0)
                    yield part[:, 0]

            audio, peak = stored(left_channel(), file.frames), np.max(peaks)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} is not a readable sound file ({error.error_string}); give a 44.1 kHz WAV") from None
    full = f"{sum(clipped)} samples are clipped at full scale: record it again at a lower level"
    for warning in [*warnings, full] if sum(clipped) else warnings:
        print(f"{relative(path)}: {warning}")
    if not np.isfinite(peak):
        raise InputError(f"{path} has samples that are not numbers; export it again")
    if peak < 1e-4:
        raise InputError(f"{path} is silent in its left channel; export it with the instrument sounding")
    return audio


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        unscaled = Path(folder) / "float.wav"
        peak = _write_blocks(unscaled, [blocks] if isinstance(blocks, np.ndarray) else blocks, "FLOAT")
        scale = 1 / peak if peak > 1 else 1.0
        if scale < 1:
            print(f"{relative(path)}: peak {peak:.2f} is above 1; scaled by {20 * np.log10(scale):.1f} dB")
        with atomic_write(path) as part, soundfile.SoundFile(unscaled) as source:
            parts = source.blocks(10 * SAMPLE_RATE, dtype="float32")
            _write_blocks(part, (block * np.float32(scale) for block in parts), SUBTYPES[output])
    return path


def _write_blocks(path: Path, blocks: Iterable[np.ndarray], subtype: str) -> float:
    """Write blocks as a WAV and return their peak."""
    peak = 0.0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, format="WAV") as file:
        for block in blocks:
            if not np.all(np.isfinite(block)):
                raise InputError("the sound has values that are not numbers; train the model again, more slowly")
            file.write(block)
            peak = max(peak, float(np.abs(block).max(initial=0)))
    return peak
