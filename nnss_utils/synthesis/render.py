"""Rendering: notes to sound by a trained network, block by block (notebook 06_evaluation). A mask network makes one
voice at a time, its frames counted from the note's own start, so a note sounds the same wherever it is; voices are
batched, resynthesized and added. A direct network hears the whole mix."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import heterodyne, inverse_heterodyne
from nnss_utils.dsp.stft import istft, oversample, padding, samples_of_frames, stft, undersample
from nnss_utils.errors import progress_bar
from nnss_utils.instruments.wav import stored
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.model.codification import codify
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.model.pairs import as_pairs
from nnss_utils.synthesis.inference import OverlapBuffer, Tiling, predict_spectra
from nnss_utils.synthesis.voice import VoiceRenderer, key_of

BLOCK_SECONDS = 9.0
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of sound, {remaining} left"

Pieces = Iterator[tuple[int, np.ndarray]]  # (first sample, sound): they add up to the music


def render(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> np.ndarray:
    """Return the whole sound of `notes` by `model`, float32 (samples,), mapped from a temporary file if it is long;
    raises `InputError` as `synthesize`."""
    samples = round(SAMPLE_RATE * max((note.end for note in notes), default=0))
    return stored(synthesize(notes, model, progress=progress), samples)


def synthesize(
    notes: Sequence[Note], model: TrainedModel, *, by: VoiceRenderer | None = None, progress: bool = True
) -> Iterator[np.ndarray]:
    """Yield the sound of `notes` by `model` in float32 blocks (samples,), one after the other. by: the model's renderer
    with what it has kept. Raises `InputError` for a pitch outside the range that the model was trained on."""
    notes = sorted(notes)
    check_range(notes, model.low, model.high, f"the model {model.name}")
    total = max((sum(samples_of(note)) for note in notes), default=0) + model.settings.codification.release_samples
    tile = Tiling.of(model).core * model.settings.spectral.frame_step // model.settings.spectral.oversampling
    block, buffer = max(1, round(BLOCK_SECONDS * SAMPLE_RATE / tile)) * tile, OverlapBuffer()  # whole tiles of frames
    pieces = _voice_pieces(notes, model, by) if model.settings.network.kind.per_voice else _mix_pieces(notes, model)
    shown = {"desc": "synthesizing", "unit_scale": 1 / SAMPLE_RATE, "bar_format": BAR}
    with progress_bar(total=total, disable=not progress, **shown) as bar:
        for at in range(0, total, block):
            size = min(block, total - at)
            for first, piece in pieces(at, size):
                buffer.add(first, piece)
            yield buffer.take(size)
            bar.update(size)


def _voice_pieces(notes: Sequence[Note], model: TrainedModel, by: VoiceRenderer | None) -> Callable[[int, int], Pieces]:
    """Return a generator function of voices beginning in samples at..at + size; identical notes are rendered once."""
    starts, renderer = [samples_of(note)[0] for note in notes], by or VoiceRenderer(model)

    def pieces(at: int, size: int) -> Pieces:
        beginning = range(bisect_left(starts, at), bisect_left(starts, at + size))
        identical: dict[tuple, list[int]] = {}
        for n in beginning:
            identical.setdefault(key_of(notes[n]), []).append(starts[n])
        for key, gain, sounds in renderer.voices(notes[n] for n in beginning):
            for start in identical[key]:
                for sound in sounds:
                    yield start, sound * gain
                    start += len(sound)

    return pieces


def _mix_pieces(notes: Sequence[Note], model: TrainedModel) -> Callable[[int, int], Pieces]:
    """Return a generator function of a direct network's tiles whose frames begin in samples at..at + size."""
    spectral, tiling = model.settings.spectral, Tiling.of(model)
    o, step = spectral.oversampling, spectral.frame_step
    tile = tiling.core * step

    def pieces(at: int, size: int) -> Pieces:
        before = -(-padding(spectral) // tile) * tile if at == 0 else 0  # frames that begin before the sound
        for batch in tiling.batches(list(range(at * o - before, (at + size) * o, tile))):
            starts = [first - tiling.context * step for first in batch]
            spectra = np.stack([_mix_spectra(notes, model, first, tiling.frames) for first in starts])
            predicted = predict_spectra(model, {"codification": as_pairs(spectra)})
            for first, spectrum in zip(batch, predicted, strict=True):
                spectrum = inverse_heterodyne(spectrum, spectral, first) if spectral.heterodyne else spectrum
                yield first // o, undersample(istft(spectrum, spectral, pad=False, scaled=True), o)

    return pieces


def _mix_spectra(notes: Sequence[Note], model: TrainedModel, first: int, frames: int) -> np.ndarray:
    """Return the scaled spectra (frames, bins) of the codification from sample `first` (oversampled rate) on."""
    spectral, o = model.settings.spectral, model.settings.spectral.oversampling
    width = -(-samples_of_frames(frames, spectral) // o)
    sound = codify(notes, width, model.settings.codification, model.tuning, first // o).sum(axis=0)
    spectra = stft(oversample(sound, o), spectral, pad=False, scaled=True)[:frames]
    return heterodyne(spectra, spectral, first) if spectral.heterodyne else spectra
