"""Synthesis: notes to sound by a trained network, in blocks that don't grow with the piece (notebook 06_evaluation).

A mask network makes one voice at a time, its frames counted from the note's own start, so a note sounds the
same wherever it stands; voices are batched, resynthesized and added. A direct network hears the whole mix.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import scipy.fft
import soundfile
from keras import ops
from tqdm.auto import tqdm

from nnss_utils import models
from nnss_utils.codification import ToneTable, codify
from nnss_utils.errors import InputError, check_choice
from nnss_utils.instrument import samples_of, velocity_gain
from nnss_utils.midi import Note, check_range
from nnss_utils.modelfile import TrainedModel
from nnss_utils.normalization import denormalize_pairs
from nnss_utils.paths import shown, whole_file
from nnss_utils.sampling import as_pairs, example_samples, voice_inputs
from nnss_utils.spectral import (
    SAMPLE_RATE,
    Spectral,
    frame_count,
    frames_to_spectra,
    heterodyne,
    inverse_heterodyne,
    lead,
    overlap_add,
    oversample,
    undersample,
)

SUBTYPES = {"16-bit": "PCM_16", "float": "FLOAT"}
FRAMES_AT_ONCE = 4096  # frames in one call of a single-frame network
CHUNK, CONTEXT = (
    96,
    16,
)  # frames a recurrent network hears at once, and of these those only for context, each side
BLOCK_SECONDS = 4.0


def synthesize(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> Iterator[np.ndarray]:
    """Yield the sound of `notes` by `model`, float32 blocks (samples,) one after the other.

    Raises `InputError` for a pitch outside the range that the model was trained on.
    """
    notes = sorted(notes)
    check_range(notes, model.low, model.high, f"the model {model.name}")
    total = max((sum(samples_of(note)) for note in notes), default=0)
    total += round(model.settings.codification.release * SAMPLE_RATE)
    bar = tqdm(total=round(total / SAMPLE_RATE, 2), desc="synthesizing", unit="s", disable=not progress, bar_format=BAR)
    pending = np.zeros(0, np.float32)  # sound from `at` on that later pieces may still add to
    with bar:
        for at in range(0, total, block_samples(model)):
            size = min(block_samples(model), total - at)
            for first, piece in _pieces(notes, model, at, size):
                begin = max(0, at - first)  # what lies before belongs to frames before the sound
                last = first - at + len(piece)
                pending = np.pad(pending, (0, max(0, last - len(pending))))
                pending[first + begin - at : last] += piece[begin:]
            pending = np.pad(pending, (0, max(0, size - len(pending))))
            yield pending[:size]
            pending = pending[size:].copy()
            bar.update(round(size / SAMPLE_RATE, 2))


def block_samples(model: TrainedModel) -> int:
    """Return how many samples are made at a time: whole tiles of frames."""
    tile = Tiling.of(model).core * model.settings.spectral.frame_step // model.settings.spectral.oversampling
    return max(1, round(BLOCK_SECONDS * SAMPLE_RATE / tile)) * tile


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of sound, {remaining} left"


def render(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> np.ndarray:
    """Return the whole sound of `notes` by `model`, float32 (samples,)."""
    return np.concatenate([np.zeros(0, np.float32), *synthesize(notes, model, progress=progress)])


@dataclass(frozen=True)
class Tiling:
    """How frames are put before a network: `rows` tiles of `core` frames, with `context` more on each side."""

    core: int
    context: int
    rows: int

    @classmethod
    def of(cls, model: TrainedModel) -> "Tiling":
        """Return what suits the model's network; always the same shape, so that it is compiled once."""
        o = model.settings.spectral.oversampling  # tiles start on samples of the plain rate
        core, context, rows = (64, 16, 16) if model.settings.network.recurrent else (16, 0, 64)
        return cls(-(-core // o) * o, -(-context // o) * o, rows)

    @property
    def frames(self) -> int:
        """Frames of a tile with its context."""
        return self.core + 2 * self.context

    def batches(self, tiles: list) -> Iterator[list]:
        """Yield the tiles in batches of `rows`."""
        for begin in range(0, len(tiles), self.rows):
            yield tiles[begin : begin + self.rows]


def _pieces(notes: Sequence[Note], model: TrainedModel, at: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample, sound) of all that begins in the samples at..at + size; pieces add up to the sound."""
    if model.settings.network.per_voice:
        starts = [samples_of(note)[0] for note in notes]
        return _voice_pieces(notes[bisect_left(starts, at) : bisect_left(starts, at + size)], model)
    return _mix_pieces(notes, model, at, size)


def _voice_pieces(notes: Sequence[Note], model: TrainedModel) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample, sound) of every tile of every voice; alike notes are made once."""
    settings, spectral, tiling = model.settings, model.settings.spectral, Tiling.of(model)
    o, step = spectral.oversampling, spectral.frame_step
    alike: dict[tuple, list[Note]] = {}
    for note in notes:
        alike.setdefault((note.pitch, note.velocity, samples_of(note)[1]), []).append(note)
    distinct = [same[0] for same in alike.values()]
    table = ToneTable(model.tuning, distinct, settings.codification)
    tiles = []  # (note, first frame of the core, frames of the voice)
    for note in distinct:
        count = frame_count((samples_of(note)[1] + len(table.fade)) * o, spectral)
        tiles += [(note, first, count) for first in range(0, count, tiling.core)]
    for batch in tiling.batches(tiles):
        starts = [((first - tiling.context) * step - lead(spectral)) // o for _, first, _ in batch]
        inputs = voice_inputs([note for note, _, _ in batch], np.array(starts), table, settings, tiling.frames)
        spectra = _forward(model, {name: inputs[name] for name in ("tone", "impulse", "features", "pitch")})
        for (note, first, count), spectrum in zip(batch, spectra, strict=True):
            held = samples_of(note)[1]
            sound = _resynthesize(spectrum[: count - first], spectral) * np.float32(velocity_gain(note.velocity))
            offset = (first * step - lead(spectral)) // o
            begin = max(0, -offset)  # a voice begins with its note and ends with its release, to the sample
            sound = sound[begin : max(begin, held + len(table.fade) - offset)]
            for same in alike[note.pitch, note.velocity, held]:
                yield samples_of(same)[0] + offset + begin, sound


def _mix_pieces(notes: Sequence[Note], model: TrainedModel, at: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample, sound) of the tiles of a direct network whose frames begin in at..at + size."""
    spectral, tiling = model.settings.spectral, Tiling.of(model)
    o, step = spectral.oversampling, spectral.frame_step
    tile = tiling.core * step
    before = -(-lead(spectral) // tile) * tile if at == 0 else 0  # frames that begin before the sound
    tiles = list(range(at * o - before, (at + size) * o, tile))
    for batch in tiling.batches(tiles):
        starts = [first - tiling.context * step for first in batch]
        spectra = np.stack([_mix_spectra(notes, model, first, tiling.frames) for first in starts])
        predicted = _forward(model, {"codification": as_pairs(spectra)})
        for first, spectrum in zip(batch, predicted, strict=True):
            spectrum = inverse_heterodyne(spectrum, spectral, first) if spectral.heterodyne else spectrum
            yield first // o, _resynthesize(spectrum, spectral)


def _mix_spectra(notes: Sequence[Note], model: TrainedModel, first: int, frames: int) -> np.ndarray:
    """Return the scaled spectra (frames, bins) of the codification from sample `first` (oversampled rate) on."""
    spectral, o = model.settings.spectral, model.settings.spectral.oversampling
    width = -(-example_samples(spectral, frames) // o)
    sound = codify(notes, width, model.settings.codification, model.tuning, first // o).sum(axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(oversample(sound, o), spectral.frame_length)
    spectra = frames_to_spectra(windows[:: spectral.frame_step][:frames], spectral) * np.float32(spectral.scale)
    return heterodyne(spectra, spectral, first) if spectral.heterodyne else spectra


def _resynthesize(spectrum: np.ndarray, spectral: Spectral) -> np.ndarray:
    """Return the sound float32 (samples,) that frames (frames, bins) add, from the first frame's start on."""
    frames = scipy.fft.irfft(spectrum, n=spectral.frame_length, axis=-1)
    return undersample(overlap_add(frames, spectral), spectral.oversampling)


def _forward(model: TrainedModel, inputs: dict) -> np.ndarray:
    """Return a batch's predicted spectra complex64 (tiles, core, bins), denormalized, the context cut off."""
    tiling = Tiling.of(model)
    count = len(next(iter(inputs.values())))
    padding = tiling.rows - count
    padded = {name: np.pad(v, [(0, padding)] + [(0, 0)] * (v.ndim - 1)) for name, v in inputs.items()}
    settings = model.settings
    predict = _compiled(model.network, settings.network.per_voice, settings.training.power, model.level)
    pairs = ops.convert_to_numpy(predict(padded))[:count, tiling.context : tiling.context + tiling.core]
    return np.ascontiguousarray(pairs).view(np.complex64)[..., 0] / np.float32(settings.spectral.scale)


@lru_cache(maxsize=4)
def _compiled(network: keras.Model, per_voice: bool, power: float, level: float) -> Callable:
    """Return the function from a batch's inputs to denormalized pairs, compiled where the backend can."""
    predict = models.predict_voices if per_voice else models.predict_mix

    def forward(inputs):
        return denormalize_pairs(predict(network, inputs, power, level), power)

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(forward, jit_compile=True)
    return forward


@dataclass(frozen=True)
class Written:
    """What `write_wav` did: where, how many samples, the peak before scaling and the scale applied (1 if none)."""

    path: Path
    samples: int
    peak: float
    scale: float


def write_wav(path: Path, blocks: Iterable[np.ndarray] | np.ndarray, output: str = "16-bit") -> Written:
    """Write float32 blocks as a WAV of 44.1 kHz mono, "16-bit" or "float", whole or not at all.

    A peak above 1 is never clipped: it is reported and the whole is scaled to peak at 1.
    """
    check_choice("output", output, tuple(SUBTYPES))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        unscaled = Path(folder) / "float.wav"
        samples, peak = _write_blocks(unscaled, [blocks] if isinstance(blocks, np.ndarray) else blocks, "FLOAT")
        scale = 1 / peak if peak > 1 else 1.0
        if scale < 1:
            print(
                f"{shown(path)}: peak {peak:.2f} is above 1; scaled by {20 * np.log10(scale):.1f} dB, nothing clipped"
            )
        with whole_file(path) as part, soundfile.SoundFile(unscaled) as source:
            parts = source.blocks(10 * SAMPLE_RATE, dtype="float32")
            _write_blocks(part, (block * np.float32(scale) for block in parts), SUBTYPES[output])
    return Written(path, samples, peak, scale)


def _write_blocks(path: Path, blocks: Iterable[np.ndarray], subtype: str) -> tuple[int, float]:
    """Write blocks as a WAV and return how many samples they have and their peak."""
    samples, peak = 0, 0.0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, format="WAV") as file:
        for block in blocks:
            if not np.all(np.isfinite(block)):
                raise InputError("the sound has values that are not numbers; train the model again, more slowly")
            file.write(block)
            samples, peak = samples + len(block), max(peak, float(np.abs(block).max(initial=0)))
    return samples, peak
