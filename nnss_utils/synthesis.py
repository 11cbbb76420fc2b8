"""Synthesis: notes to sound by a trained network, in blocks that don't grow with the piece (notebook 06_evaluation).

A mask network makes one voice at a time, its frames counted from the note's own start, so a note sounds the
same wherever it stands; voices are batched, resynthesized and added. A direct network hears the whole mix.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
import scipy.fft
from keras import ops
from tqdm.auto import tqdm

from nnss_utils import models
from nnss_utils.codification import ToneTable, codify
from nnss_utils.instrument import velocity_gain
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.modelfile import TrainedModel
from nnss_utils.normalization import denormalize_pairs
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
from nnss_utils.voices import Voices, as_pairs, example_samples, voice_inputs

BLOCK_SECONDS = 4.0


def synthesize(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> Iterator[np.ndarray]:
    """Yield the sound of `notes` by `model`, float32 blocks (samples,) one after the other.

    Raises `InputError` for a pitch outside the range that the model was trained on.
    """
    notes = sorted(notes)
    check_range(notes, model.low, model.high, f"the model {model.name}")
    total = max((sum(samples_of(note)) for note in notes), default=0)
    total += round(model.settings.codification.release * SAMPLE_RATE)
    bar = tqdm(total=total, desc="synthesizing", unit_scale=1 / SAMPLE_RATE, disable=not progress, bar_format=BAR)
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
            bar.update(size)


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
        frames = model.settings.training.frames
        if not model.settings.network.sequences:
            return cls(-(-16 // o) * o, 0, 64)
        # as long as the sequences it learnt from, a quarter of them on each side for context only
        context, core = frames // 4, max(1, frames - 2 * (frames // 4))
        return cls(-(-core // o) * o, -(-context // o) * o, max(1, 1536 // (core + 2 * context)))

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
        voices = Voices.of([note for note, _, _ in batch])
        inputs = voice_inputs(voices, np.array(starts), table, settings, tiling.frames, model.longest)
        inputs.pop("gain")
        spectra = _forward(model, inputs)
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
    spectra = frames_to_spectra(windows[:: spectral.frame_step][:frames], spectral, spectral.scale)
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
def _compiled(network: keras.Model, per_voice: bool, power: float | str, level: float) -> Callable:
    """Return the function from a batch's inputs to denormalized pairs, compiled where the backend can."""
    predict = models.predict_voices if per_voice else models.predict_mix

    def forward(inputs):
        return denormalize_pairs(predict(network, inputs, power, level), power)

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(forward, jit_compile=True)
    return forward
