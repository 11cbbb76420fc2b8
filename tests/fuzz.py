"""Broken files by the thousand: `python tests/fuzz.py midi 20000`, `... wav 20000`, `... model 5000`; test_bad_midi,
test_wav and test_bad_models run a short form of each."""

import contextlib
import io
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm.auto import tqdm

from nnss_utils.errors import InputError
from nnss_utils.instruments.wav import read_wav
from nnss_utils.midi import read_midi

# running status, across a meta event too, drums, sysex, pedal, tempo, a note of no length
RUNNING = bytes.fromhex(
    "00ff5103070000 0090406e 103c64 00ff010568656c6c6f 084340 00992464 0a2400 00f0037e7ff7 00b0407f 00904000"
    "00b04000 0a904064 00804000 10803c00 004300 00ff2f00"
)
DATA = Path(__file__).resolve().parent.parent / "data"
SOUNDS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("WAV", "ULAW"),
          ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_32"), ("RF64", "PCM_16"), ("W64", "DOUBLE"), ("AIFF", "PCM_16"),
          ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("CAF", "FLOAT")]  # fmt: skip
MOST_SECONDS = 2.0  # for one file
HEADER = 120  # bytes of a sound file that are mutated


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few of them changed, removed, doubled, moved or cut off."""
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at, other = (chance.randrange(len(content) + 1) for _ in range(2))
        size = chance.choice((1, 1, 2, 3, 8, 64, 1000))
        match chance.randrange(8):
            case 0 | 1 if at < len(content):
                content[at] = chance.randrange(256)
            case 2 if at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            case 3:
                del content[at : at + size]
            case 4:
                content[at:at] = content[other : other + size]
            case 5:
                content[at:at] = bytes([chance.choice((0, 0x7F, 0x80, 0xF0, 0xF7, 0xFF))]) * size
            case 6:
                del content[at:]
            case _:
                content[at : at + 4] = chance.randbytes(4)
        if not content:
            content = bytearray(1)
    return bytes(content)


def struck_notes(content: bytes) -> int | None:
    """Return how many notes a MIDI file strikes, by the standard's grammar and nothing else; None if it breaks it."""
    count, at = 0, 14
    tracks = int.from_bytes(content[10:12], "big")
    if content[:8] != b"MThd\0\0\0\6":
        return None
    for _ in range(tracks):
        if content[at : at + 4] != b"MTrk":
            return None
        end, at, running = at + 8 + int.from_bytes(content[at + 4 : at + 8], "big"), at + 8, 0
        if end > len(content):
            return None
        while at < end:
            _, at = _number(content, at)
            if at >= end:
                return None
            status, at = (content[at], at + 1) if content[at] >= 0x80 else (running, at)
            if status >= 0xF0:
                if status not in (0xF0, 0xF7, 0xFF):
                    return None
                size, at = _number(content, at + (status == 0xFF))
                at, running = at + size, running if status == 0xFF else 0
                continue
            size = 1 if 0xC0 <= status < 0xE0 else 2
            data, at, running = content[at : at + size], at + size, status
            if status < 0x80 or at > end or any(byte >= 0x80 for byte in data):
                return None
            count += status & 0xF0 == 0x90 and data[1] > 0
        if at != end:
            return None
    return count


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; one of more than four bytes is taken to have no end."""
    value = 0
    for size in range(1, 5):
        byte = content[at + size - 1] if at + size <= len(content) else 0x80
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + size
    return 0, len(content) + 1


def read_and_count(path: Path) -> tuple[int | None, str]:
    """Return how many struck notes `read_midi` accounts for (None: refused), and what it said."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            notes = len(read_midi(path))
        said = said.getvalue()
    except InputError as error:
        notes, said = None, str(error)
    left_out = sum(map(int, re.findall(r"(\d+) (?:on the drum channel|of no length)", said)))
    return None if notes is None else notes + left_out, said


def fuzz_midi(count: int, seed: int = 0) -> Counter:
    """Read so many mutated MIDI files; raises AssertionError for a note lost in silence or more than a line said."""
    chance, outcomes, slowest = random.Random(seed), Counter(), 0.0
    files = [path.read_bytes() for path in sorted((DATA / "midi").glob("*.mid"))]
    files = [content for content in files if content[8:12] == b"\0\0\0\1"]  # of one track
    files += [content[: 22 + at] for content in files for at in (30, 300)]
    files.append(b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + len(RUNNING).to_bytes(4, "big") + RUNNING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.mid"
        for _ in tqdm(range(count), desc="mutated MIDI files", disable=count < 1000):
            content = chance.choice(files)
            if chance.random() < 0.7:  # the events alone, in a track that has the right length
                events = mutated(content[22:], chance)
                content = content[:18] + len(events).to_bytes(4, "big") + events
            else:
                content = mutated(content, chance)
            path.write_bytes(content)
            begun = time.perf_counter()
            counted, said = read_and_count(path)
            slowest = max(slowest, time.perf_counter() - begun)
            assert said.count("\n") <= 1 and (counted is None or "Error" not in said), said
            struck = struck_notes(content)
            outcomes["refused" if counted is None else "read" if struck is not None else "read, against grammar"] += 1
            outcomes["refused, though whole"] += counted is None and bool(struck)
            if counted is not None and struck is not None:
                assert counted == struck, f"{struck} notes struck, {counted} read: kept in {_keep(content)}"
    return outcomes | costs(slowest)


def fuzz_wav(count: int, seed: int = 0) -> Counter:
    """Read so many sound files with mutated headers; raises AssertionError unless each gives finite samples or one line
    of an error."""
    chance, outcomes, slowest = random.Random(seed), Counter(), 0.0
    sound = 0.3 * np.sin(np.arange(2 * 6615).reshape(-1, 2) / 7)
    with tempfile.TemporaryDirectory() as folder:
        path, files = Path(folder) / "mutated.wav", []
        for kind, subtype in SOUNDS:
            for channels in (1, 2):
                soundfile.write(path, sound[:, :channels], 44100, format=kind, subtype=subtype)
                files.append(path.read_bytes())
        for _ in tqdm(range(count), desc="mutated sound files", disable=count < 1000):
            content = chance.choice(files)
            content = mutated(content[:HEADER], chance) + content[HEADER:]
            path.write_bytes(content)
            begun = time.perf_counter()
            with refused_in_a_line(content, outcomes), contextlib.redirect_stdout(io.StringIO()):
                read = read_wav(path)
                assert read.dtype == np.float32 and read.ndim == 1 and np.isfinite(read).all(), _keep(content)
                outcomes["read"] += 1
            slowest = max(slowest, time.perf_counter() - begun)
    return outcomes | costs(slowest)


def fuzz_model(path: Path, count: int, seed: int = 0) -> Counter:
    """Load so many mutated copies of a model file; raises AssertionError unless each is refused in one line, or holds
    what the original held (ZIP ignores some bytes)."""
    from nnss_utils.model.model_file import load_model  # not before: it imports TensorFlow

    chance, outcomes, slowest = random.Random(seed), Counter(), 0.0
    content, whole = path.read_bytes(), load_model(str(path))
    weights = [np.array(w) for w in whole.network.weights]
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.keras"
        for number in tqdm(range(count), desc="mutated model files", disable=count < 1000):
            cut_off = number % 3 == 0
            altered = content[: chance.randrange(len(content))] if cut_off else mutated(content, chance)
            broken.write_bytes(altered)
            begun = time.perf_counter()
            with refused_in_a_line(altered, outcomes):
                loaded = load_model(str(broken))
                same = all(np.array_equal(a, b) for a, b in zip(loaded.network.weights, weights, strict=True))
                same &= (loaded.settings, loaded.tuning) == (whole.settings, whole.tuning)
                assert same and not cut_off, f"a changed file was loaded: kept in {_keep(altered)}"
                outcomes["loaded, as it was"] += 1
            slowest = max(slowest, time.perf_counter() - begun)
    return outcomes | costs(slowest)


@contextlib.contextmanager
def refused_in_a_line(content: bytes, outcomes: Counter) -> Iterator[None]:
    """Count an `InputError` of the block as a refusal; raises AssertionError if it has more than a line."""
    try:
        yield
    except InputError as error:
        assert "\n" not in str(error), _keep(content)
        outcomes["refused"] += 1


def costs(slowest: float) -> Counter:
    """Return what the slowest file (s) and the whole process took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Counter({"slowest, ms": round(1000 * slowest), "peak memory of the process, MB": peak})


def _keep(content: bytes) -> Path:
    path = Path(tempfile.gettempdir()) / "nnss_fuzz.bin"
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    kind, number = sys.argv[1], int(sys.argv[2])
    fuzzers = {"midi": fuzz_midi, "wav": fuzz_wav, "model": partial(fuzz_model, DATA / "models" / "steinway.keras")}
    found = fuzzers[kind](number)
    for outcome, times in found.items():
        print(f"{times:>8}  {outcome}")
    assert found["slowest, ms"] < 1000 * MOST_SECONDS
