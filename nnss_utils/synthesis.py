"""Synthesis: notes to sound by a trained network, in blocks that don't grow with the piece (notebook 06_evaluation).

A mask network makes one voice at a time, its frames counted from the note's own start, so a note sounds the
same wherever it stands; voices are batched, resynthesized and added. A direct network hears the whole mix.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
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
    istft,
    lead,
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
    make = _voices if model.settings.network.per_voice else _mix
    last = max((sum(samples_of(note)) for note in notes), default=0)
    total = last + round(model.settings.codification.release * SAMPLE_RATE)
    bar = tqdm(
        total=round(total / SAMPLE_RATE, 2),
        desc="synthesizing",
        unit="s",
        disable=not progress,
        bar_format=BAR,
    )
    with bar:
        for block in make(notes, model, total):
            yield block
            bar.update(round(len(block) / SAMPLE_RATE, 2))


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of sound, {remaining} left"


def render(notes: Sequence[Note], model: TrainedModel, *, progress: bool = True) -> np.ndarray:
    """Return the whole sound of `notes` by `model`, float32 (samples,)."""
    return np.concatenate([np.zeros(0, np.float32), *synthesize(notes, model, progress=progress)])


def _voices(notes: Sequence[Note], model: TrainedModel, total: int) -> Iterator[np.ndarray]:
    """Yield blocks of the sum of all voices; only voices that still sound are kept."""
    forward = _voice_forward(model)
    block = round(BLOCK_SECONDS * SAMPLE_RATE)
    pending = np.zeros(0, np.float32)  # sound from `at` on that later voices may still add to
    at = waiting = 0
    while at < total:
        begin = waiting
        while waiting < len(notes) and samples_of(notes[waiting])[0] < at + block:
            waiting += 1
        for note, sound in _sounds(notes[begin:waiting], model, forward):
            first = samples_of(note)[0] - at
            pending = np.pad(pending, (0, max(0, first + len(sound) - len(pending))))
            pending[first : first + len(sound)] += sound
        size = min(block, total - at)
        pending = np.pad(pending, (0, max(0, size - len(pending))))
        yield pending[:size]
        pending, at = pending[size:].copy(), at + size


def _sounds(notes: Sequence[Note], model: TrainedModel, forward) -> Iterator[tuple[Note, np.ndarray]]:
    """Yield each note with its voice's sound, float32 (samples,): alike notes are made once."""
    spectral, settings = model.settings.spectral, model.settings
    alike: dict[tuple, list[Note]] = {}
    for note in notes:
        alike.setdefault((note.pitch, note.velocity, samples_of(note)[1]), []).append(note)
    if not alike:
        return
    first = [same[0] for same in alike.values()]
    table = ToneTable(model.tuning, first, settings.codification)
    for group in _groups(first, settings.codification.release, spectral):
        lengths = [(samples_of(note)[1] + len(table.fade)) * spectral.oversampling for note in group]
        counts = [frame_count(length, spectral) for length in lengths]
        spectra = forward(_group_inputs(group, counts, table, model))
        for note, length, spectrum in zip(group, lengths, spectra, strict=True):
            sound = undersample(istft(spectrum, spectral, length, exact=False), spectral.oversampling)
            sound = sound * np.float32(velocity_gain(note.velocity))
            for same in alike[note.pitch, note.velocity, samples_of(note)[1]]:
                yield same, sound


def _groups(notes: Sequence[Note], release: float, spectral: Spectral) -> Iterator[list[Note]]:
    """Yield groups of notes of about FRAMES_AT_ONCE frames, notes of like length together."""
    group: list[Note] = []
    frames = 0
    for note in sorted(notes, key=lambda n: n.duration):
        count = frame_count(round((note.duration + release) * spectral.rate), spectral)
        if group and frames + count > FRAMES_AT_ONCE:
            yield group
            group, frames = [], 0
        group.append(note)
        frames += count
    if group:
        yield group


def _group_inputs(notes: Sequence[Note], counts: list[int], table: ToneTable, model: TrainedModel) -> list[dict]:
    """Return each voice's network inputs, all frames from the first that touches its note's start."""
    offset = -(lead(model.settings.spectral) // model.settings.spectral.oversampling)
    inputs = []
    for note, count in zip(notes, counts, strict=True):
        voice = voice_inputs([note], np.array([offset]), table, model.settings, count)
        inputs.append({name: voice[name][0] for name in ("tone", "impulse", "features", "pitch")})
    return inputs


def _voice_forward(model: TrainedModel):
    """Return the function from voices' inputs to their spectra, complex64 (frames, bins) each."""
    network, power, scale = model.network, model.settings.training.power, model.settings.spectral.scale

    @_compiled
    def forward(inputs):
        normalized = models.predict_voices(network, inputs, power, model.level)
        return denormalize_pairs(normalized, power) / scale

    def single_frames(voices: list[dict]) -> list[np.ndarray]:
        joined = {name: np.concatenate([v[name] for v in voices])[:, None] for name in voices[0]}
        count = len(joined["pitch"])
        padded = -(-count // 512) * 512  # few shapes, few compilations
        joined = {name: np.pad(v, [(0, padded - count)] + [(0, 0)] * (v.ndim - 1)) for name, v in joined.items()}
        spectra = _complex(forward(joined))[:count, 0]
        return np.split(spectra, np.cumsum([len(v["pitch"]) for v in voices])[:-1])

    def sequences(voices: list[dict]) -> list[np.ndarray]:
        return [_chunked(lambda part: _complex(forward(part)), voice, len(voice["pitch"])) for voice in voices]

    return sequences if model.settings.network.recurrent else single_frames


def _chunked(forward, inputs: dict, count: int) -> np.ndarray:
    """Return the output (count, bins) of a sequence network heard in overlapping chunks of one length."""
    step = CHUNK - 2 * CONTEXT
    chunks = -(-count // step)
    padding = (CONTEXT, chunks * step + CONTEXT - count)
    parts = {}
    for name, value in inputs.items():
        whole = np.pad(value, [padding] + [(0, 0)] * (value.ndim - 1), mode="edge" if value.ndim < 3 else "constant")
        parts[name] = np.stack([whole[i * step : i * step + CHUNK] for i in range(chunks)])
    out = [forward({name: value[i : i + 16] for name, value in parts.items()}) for i in range(0, chunks, 16)]
    inner = np.concatenate(out)[:, CONTEXT : CHUNK - CONTEXT]
    return inner.reshape(-1, inner.shape[-1])[:count]


def _compiled(function):
    """Return `function` compiled where the backend can."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return tensorflow.function(function, jit_compile=True, reduce_retracing=True)
    return function


def _complex(pairs) -> np.ndarray:
    """Return complex64 (...) of a backend's pairs (..., 2)."""
    return np.ascontiguousarray(ops.convert_to_numpy(pairs)).view(np.complex64)[..., 0]


def _mix(notes: Sequence[Note], model: TrainedModel, total: int) -> Iterator[np.ndarray]:
    """Yield blocks of a direct network's sound: each block is made with a margin of frames on both sides."""
    settings, spectral = model.settings, model.settings.spectral
    network, power, o = model.network, settings.training.power, spectral.oversampling

    @_compiled
    def forward(inputs):
        normalized = models.predict_mix(network, inputs, power, model.level)
        return denormalize_pairs(normalized, power) / spectral.scale

    block = round(BLOCK_SECONDS * spectral.rate / spectral.frame_step) * spectral.frame_step
    margin = -(-(spectral.frame_length // spectral.frame_step + CONTEXT) // o) * o * spectral.frame_step
    for begin in range(0, total * o, block):
        count = (block + 2 * margin) // spectral.frame_step
        first = begin - margin
        width = example_samples(spectral, count) // o + 1
        segment = codify(notes, width, settings.codification, model.tuning, first // o).sum(axis=0)
        windows = np.lib.stride_tricks.sliding_window_view(oversample(segment, o), spectral.frame_length)
        spectra = frames_to_spectra(windows[:: spectral.frame_step][:count], spectral) * np.float32(spectral.scale)
        if spectral.heterodyne:
            spectra = heterodyne(spectra, spectral, first)
        inputs = {"codification": as_pairs(spectra)}
        spectra = _chunked(lambda part: _complex(forward(part)), inputs, count)
        if spectral.heterodyne:
            spectra = inverse_heterodyne(spectra, spectral, first)
        sound = istft(spectra, spectral, count * spectral.frame_step - lead(spectral), exact=False)
        sound = sound[margin - lead(spectral) :][:block]
        size = min(block, total * o - begin)
        yield undersample(sound[:size], o)


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
