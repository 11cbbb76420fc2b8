"""Files of numbers that may be a stranger's: sizes are counted before anything is read into memory."""

import contextlib
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py

MOST_UNPACKED = 30  # bytes for one in a file
MOST_GROUPS = 1000  # of an HDF5 file, which may contain itself


@contextlib.contextmanager
def unpacked(path: Path, member: str) -> Iterator[Path]:
    """Give a file with a member of a ZIP archive, whose checksum is right, in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, member)
        with zipfile.ZipFile(path) as archive, archive.open(member) as packed, file.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 2**20)
        yield file


def count_numbers(path: Path, most: float = math.inf) -> tuple[int, int]:
    """Return how many numbers an HDF5 file says that it holds, counted until they are more than `most`, and how many
    its bytes can hold. Raise ValueError for chunks that are larger than their arrays, for other files in it, and for
    endless groups."""
    numbers = stored = 0
    with h5py.File(path, "r") as file:
        groups = [file]
        for seen, group in enumerate(groups):  # grows on the way
            if seen == MOST_GROUPS:
                raise ValueError("it has endless groups")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name!r:.60} in it is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.external or item.is_virtual or item.dtype.kind not in "fiu":
                    raise ValueError(f"{name!r:.60} in it is not an array of numbers")
                numbers, stored = numbers + item.size, stored + item.id.get_storage_size()
                if numbers > most:
                    return numbers, MOST_UNPACKED * stored
                if item.chunks and math.prod(item.chunks) > max(item.size, 2**16):
                    raise ValueError(f"{name!r:.60} in it is smaller than a chunk of it")
    return numbers, MOST_UNPACKED * stored
