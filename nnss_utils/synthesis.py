"""Synthesis: notes to sound by a trained network, in blocks that don't grow with the piece (notebook 06_evaluation).

A mask network makes one voice at a time, its frames counted from the note's own start, so a note sounds the
same wherever it stands; voices are batched, resynthesized and added. A direct network hears the whole mix.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from nnss_utils.codification import codify
from nnss_utils.inference import Tiling, predict_spectra, resynthesize
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.modelfile import TrainedModel
from nnss_utils.player import VoicePlayer, key_of
from nnss_utils.spectral import SAMPLE_RATE, frames_to_spectra, heterodyne, inverse_heterodyne, lead, oversample
from nnss_utils.voices import as_pairs, example_samples

BLOCK_SECONDS = 4.0

Pieces = Iterator[tuple[int, np.ndarray]]  # (first sample, sound): they add up to the piece


def synthesize(
    notes: Sequence[Note], model: TrainedModel, *, progress: bool = True, player: VoicePlayer | None = None
) -> Iterator[np.ndarray]:
    """Yield the sound of `notes` by `model`, float32 blocks (samples,) one after the other.

    player: one that remembers voices from before. Raises `InputError` for a pitch outside the range that the model
    was trained on.
    """
    notes = sorted(notes)
    check_range(notes, model.low, model.high, f"the model {model.name}")
    total = max((sum(samples_of(note)) for note in notes), default=0)
    total += round(model.settings.codification.release * SAMPLE_RATE)
    block = block_samples(model)
    if model.settings.network.per_voice:
        pieces = _voice_pieces(notes, player or VoicePlayer(model))
    else:
        pieces = _mix_pieces(notes, model)
    pending = np.zeros(2 * block, np.float32)  # sound from `at` on that later pieces may still add to
    bar = tqdm(total=total, desc="synthesizing", unit_scale=1 / SAMPLE_RATE, disable=not progress, bar_format=BAR)
    with bar:
        for at in range(0, total, block):
            size = min(block, total - at)
            for first, piece in pieces(at, size):
                begin = max(0, at - first)  # what lies before belongs to frames before the sound
                last = first - at + len(piece)
                if last > len(pending):
                    pending = np.concatenate([pending, np.zeros(max(last, 2 * len(pending)), np.float32)])
                pending[first + begin - at : last] += piece[begin:]
            yield pending[:size].copy()
            pending[:-size] = pending[size:]
            pending[-size:] = 0
            bar.update(size)


def block_samples(model: TrainedModel) -> int:
    """Return how many samples are made at a time: whole tiles of frames."""
    tile = Tiling.of(model).core * model.settings.spectral.frame_step // model.settings.spectral.oversampling
    return max(1, round(BLOCK_SECONDS * SAMPLE_RATE / tile)) * tile


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of sound, {remaining} left"


def render(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> np.ndarray:
    """Return the whole sound of `notes` by `model`, float32 (samples,)."""
    return np.concatenate([np.zeros(0, np.float32), *synthesize(notes, model, progress=progress)])


def _voice_pieces(notes: Sequence[Note], player: VoicePlayer) -> Callable[[int, int], Pieces]:
    """Return what yields, for the samples at..at + size, every voice that begins there; alike ones are made once."""
    starts = [samples_of(note)[0] for note in notes]

    def pieces(at: int, size: int) -> Pieces:
        beginning = range(bisect_left(starts, at), bisect_left(starts, at + size))
        alike: dict[tuple, list[int]] = {}
        for n in beginning:
            alike.setdefault(key_of(notes[n]), []).append(starts[n])
        for key, sound in player.voices(notes[n] for n in beginning):
            for start in alike[key]:
                yield start, sound

    return pieces


def _mix_pieces(notes: Sequence[Note], model: TrainedModel) -> Callable[[int, int], Pieces]:
    """Return what yields the tiles of a direct network whose frames begin in the samples at..at + size."""
    spectral, tiling = model.settings.spectral, Tiling.of(model)
    o, step = spectral.oversampling, spectral.frame_step
    tile = tiling.core * step

    def pieces(at: int, size: int) -> Pieces:
        before = -(-lead(spectral) // tile) * tile if at == 0 else 0  # frames that begin before the sound
        for batch in tiling.batches(list(range(at * o - before, (at + size) * o, tile))):
            starts = [first - tiling.context * step for first in batch]
            spectra = np.stack([_mix_spectra(notes, model, first, tiling.frames) for first in starts])
            predicted = predict_spectra(model, {"codification": as_pairs(spectra)})
            for first, spectrum in zip(batch, predicted, strict=True):
                spectrum = inverse_heterodyne(spectrum, spectral, first) if spectral.heterodyne else spectrum
                yield first // o, resynthesize(spectrum, spectral)

    return pieces


def _mix_spectra(notes: Sequence[Note], model: TrainedModel, first: int, frames: int) -> np.ndarray:
    """Return the scaled spectra (frames, bins) of the codification from sample `first` (oversampled rate) on."""
    spectral, o = model.settings.spectral, model.settings.spectral.oversampling
    width = -(-example_samples(spectral, frames) // o)
    sound = codify(notes, width, model.settings.codification, model.tuning, first // o).sum(axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(oversample(sound, o), spectral.frame_length)
    spectra = frames_to_spectra(windows[:: spectral.frame_step][:frames], spectral, spectral.scale)
    return heterodyne(spectra, spectral, first) if spectral.heterodyne else spectra
