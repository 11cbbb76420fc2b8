"""Training examples drawn at random samples of a pair, their spectra made on the fly (notebook 05_train). There is one
class for each way of drawing, and `make_dataset` chooses. Nothing is stored on disk, and every batch follows from
(seed, number) alone, so training resumes exactly."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import heterodyne
from nnss_utils.dsp.stft import samples_of_frames
from nnss_utils.errors import InputError
from nnss_utils.instruments.dynamics import measure_dynamics
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import Note, samples_of
from nnss_utils.model.codification import ToneTable, codify
from nnss_utils.model.inputs import Heard, Voices, make_table, spectra_of, voice_inputs
from nnss_utils.model.modes import SHARED, ModeTable
from nnss_utils.model.pairs import as_pairs
from nnss_utils.model.settings import Settings
from nnss_utils.paths import release_pages

SHORTEST_SOUND = 0.0136  # s of a note in a frame at least (600 samples: less lies under the window's edge)


@dataclass(frozen=True)
class Batch:
    """Arrays for one step: `inputs` by name and the target's spectra (examples, frames, bins, 2). Where voices add up
    to an example, the input "example" (voices,) names each voice's."""

    inputs: dict[str, np.ndarray]
    target: np.ndarray


def make_dataset(notes: Sequence[Note], audio: np.ndarray, settings: Settings, tuning: Tuning | None) -> "Dataset":
    """Return the dataset that suits a network and a pair of notes and audio, float32 (samples,) at 44.1 kHz."""
    if not settings.network.kind.per_voice:
        return MixSequences(notes, audio, settings, tuning)
    if not settings.network.kind.sequences:
        loose = LooseFrames(notes, audio, settings, tuning)
        if not loose.crowded:
            return loose
    return VoiceSequences(notes, audio, settings, tuning)


class Dataset:
    """Base class of the datasets. A subclass defines `_hold_out(fraction)`, which returns whether anything is held out;
    `_draw(rng, validation=...)`, which returns each row's note (batch,), None for sequences, and first samples as
    `positions` does; and `_make(note, first)`, which returns the batch of these examples."""

    single_frames = False  # whether an example is one frame
    by_voice = False  # whether each note that sounds in an example has its own row

    def __init__(self, notes: Sequence[Note], audio: np.ndarray, settings: Settings, tuning: Tuning | None) -> None:
        """Prepare drawing; parameters as of `make_dataset`."""
        self.settings, self.spectral, self.audio, self.tuning = settings, settings.spectral, audio, tuning
        self.notes, self.voices = sorted(notes), Voices.of(sorted(notes))
        self.starts, self.held = np.array([samples_of(note)[0] for note in self.notes]), self.voices.held
        self.release = settings.codification.release_samples
        self.ends = self.starts + self.held + self.release
        self.latest_end = np.maximum.accumulate(self.ends)
        self.frames = 1 if self.single_frames else settings.training.frames  # in a row, of an example
        self.width = -(-samples_of_frames(self.frames, self.spectral) // self.spectral.oversampling)  # its samples
        self.crowded = bool(np.any(self.starts[1:] - self.latest_end[:-1] < self.width))  # it may contain two notes
        self.mixed = self.by_voice and self.crowded  # whether several voices add up to one example
        apart = settings.network.kind.modes and not self.crowded
        self.heard = Heard.of(self.notes, settings, measure_dynamics(audio, self.notes) if apart else None)
        self.has_holdout = self._hold_out(settings.training.holdout)

    @cached_property
    def table(self) -> ToneTable | ModeTable:
        """The carriers of all notes, made when first used."""
        return make_table(self.tuning, self.notes, self.settings)

    def batch(self, number: int) -> Batch:
        """Return training batch `number`: the same arrays at every call."""
        return self._make(*self._drawn(number, validation=False))

    def validation_batch(self) -> Batch | None:
        """Return a batch from the held-out part, None if there is none."""
        return self._make(*self._drawn(0, validation=True)) if self.has_holdout else None

    def positions(self, number: int) -> np.ndarray:
        """Return the first samples of the examples of training batch `number`: (batch,), loose (batch, frames)."""
        return self._drawn(number, validation=False)[1]

    def _drawn(self, number: int, *, validation: bool) -> tuple[np.ndarray | None, np.ndarray]:
        rng = np.random.default_rng([self.settings.training.seed, 2 if validation else 1, number])
        note, first = self._draw(rng, validation=validation)
        return note, first - first % self.settings.training.grid

    def _target(self, first: np.ndarray) -> np.ndarray:
        """Return the audio's scaled spectra (examples, frames, bins) from samples `first` on."""
        spectra = self._spectra(first, lambda out, rows: copy_segments(self.audio, first[rows], out))
        release_pages(self.audio)
        return spectra

    def _spectra(self, first: np.ndarray, copy: Callable) -> np.ndarray:
        """Return scaled spectra (examples, frames, bins) of the sound that `copy` writes (see `spectra_of`)."""
        return spectra_of(len(first), self.frames, copy, self.spectral)


class LooseFrames(Dataset):
    """Frames at random moments of separate notes, for mask networks without recurrence: a row is of one note."""

    single_frames = True

    def _hold_out(self, fraction: float) -> bool:
        self.held_out = holdout_notes(self.heard.rows(self.voices), self.held, fraction)
        return bool(self.held_out.any())

    def _draw(self, rng: np.random.Generator, *, validation: bool) -> tuple[np.ndarray, np.ndarray]:
        """Draw 60 % of the frames evenly in the logarithm of the time that the note has sounded at the frame's end, so
        that every part of attack and decay gets its share; 15 % around the note's end; the rest anywhere."""
        size = self.settings.training.batch, self.settings.training.frames
        notes = np.flatnonzero(self.held_out == validation)
        modal, weight = self.settings.network.kind.modes, self.held[notes] ** 0.25  # own gains need long notes
        note = rng.choice(notes, size[0], p=weight / weight.sum() if modal else None)
        start, end, width = self.starts[note, None], self.ends[note, None], self.width
        sounded = np.exp(rng.uniform(np.log(SHORTEST_SOUND * SAMPLE_RATE), np.log(width + end - start), size))
        since_on = start - width + sounded.astype(np.int64)
        around_off = start + self.held[note, None] + rng.integers(-width, width, size)
        anywhere = start - width // 2 + (rng.random(size) * (end - start + width // 2)).astype(np.int64)
        kind = rng.random(size)
        around = (kind >= 0.6) & (kind < 0.75)
        first = np.where(kind < 0.6, since_on, np.where(around, around_off, anywhere))
        if modal:  # frames as they are rendered, but some around note-off, which lies anywhere on their grid
            step = math.lcm(self.spectral.frame_step, self.spectral.oversampling) // self.spectral.oversampling
            first -= (first - start) % step * ~around
        return note, first

    def _make(self, note: np.ndarray, first: np.ndarray) -> Batch:
        rows, starts = first.shape, (first - self.starts[note, None]) * self.spectral.oversampling
        if self.settings.network.kind.modes:
            inputs = voice_inputs(self.voices[note], starts, self.table, self.settings, self.heard)
        else:  # frames in a row have one tone
            each = self.voices[np.repeat(note, rows[1])]
            inputs = voice_inputs(each, starts.reshape(-1, 1), self.table, self.settings, self.heard)
            inputs = {name: value.reshape(*rows, *value.shape[2:]) for name, value in inputs.items()}
        inputs["gain"] = self.heard.gains(self.voices[note])
        target = as_pairs(self._target(first.ravel()))
        return Batch(inputs, target.reshape(*rows, *target.shape[2:]))


class Sequences(Dataset):
    """Frames in a row; stretches of the audio are held out."""

    def _hold_out(self, fraction: float) -> bool:
        self.blocks = holdout_blocks(len(self.audio), fraction, self.width)
        return bool(self.blocks)

    def _draw(self, rng: np.random.Generator, *, validation: bool) -> tuple[None, np.ndarray]:
        found, batch = np.zeros(0, np.int64), self.settings.training.batch
        for _ in range(50):
            first = self._candidates(rng, 4 * batch)
            inside, outside = np.zeros(len(first), bool), np.ones(len(first), bool)
            for low, high in self.blocks:
                inside |= (first >= low) & (first + self.width <= high)
                outside &= (first >= high) | (first + self.width <= low)
            found = np.concatenate([found, first[inside if validation else outside]])
            if len(found) >= batch:
                return None, found[:batch]
        raise InputError(
            f"the pair is too short to draw examples of {self.width / SAMPLE_RATE:.2f} s "
            f"{'from its held-out part' if validation else 'from'}; give a longer one, fewer frames, or holdout=0"
        )

    def _candidates(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return random first samples (count,): half near a note's start or end, half anywhere in a note."""
        note = rng.integers(len(self.notes), size=count)
        start, end, width = self.starts[note], self.ends[note], self.width
        event = np.where(rng.random(count) < 0.5, start, start + self.held[note])
        near_event = event - rng.integers(-SAMPLE_RATE // 50, width, size=count)
        anywhere = start - width // 2 + (rng.random(count) * (end - start + width // 2)).astype(np.int64)
        return np.where(rng.random(count) < 0.5, near_event, anywhere)

    def _sounding(self, first: np.ndarray) -> np.ndarray:
        """Return for each example the range of notes (examples, 2) that holds all that sound in it."""
        low = np.searchsorted(self.latest_end, first, side="right")
        return np.stack([low, np.searchsorted(self.starts, first + self.width, side="left")], axis=1)


class MixSequences(Sequences):
    """Sequences of the whole mix, for direct networks."""

    def _make(self, note: None, first: np.ndarray) -> Batch:
        ranges = self._sounding(first)

        def copy_codification(out: np.ndarray, rows: slice) -> None:
            for row, at, (low, high) in zip(out, first[rows], ranges[rows], strict=True):
                row[:] = codify(self.notes[low:high], len(row), self.settings.codification, self.tuning, at).sum(axis=0)

        codification = self._demodulated(self._spectra(first, copy_codification), first)
        start = (first * self.spectral.oversampling % self.spectral.frame_length).astype(np.int32)
        inputs = {"codification": as_pairs(codification), "start": start}
        return Batch(inputs, as_pairs(self._demodulated(self._target(first), first)))

    def _demodulated(self, spectra: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Return spectra heterodyned if the settings ask for it (a mask's codification has the target's carriers)."""
        if not self.spectral.heterodyne:
            return spectra
        at = first * self.spectral.oversampling
        return np.stack([heterodyne(s, self.spectral, int(n)) for s, n in zip(spectra, at, strict=True)])


class VoiceSequences(Sequences):
    """Sequences of voices, for mask networks that are recurrent or whose notes overlap."""

    by_voice = True

    def _make(self, note: None, first: np.ndarray) -> Batch:
        """Return a batch with a row for each note that sounds in an example; examples that do not fit are dropped."""
        target = as_pairs(self._target(first))
        ranges = enumerate(self._sounding(first))
        pairs = [(e, n) for e, (low, high) in ranges for n in range(low, high) if self.ends[n] > first[e]]
        example, note = np.array(pairs, np.int64).reshape(-1, 2).T
        rows = self.settings.training.batch
        if len(example) > rows:
            fitting = example[rows] if example[rows] > 0 else len(first)
            inside = example < fitting
            example, note, target = example[inside], note[inside], target[:fitting]
        if not len(example):
            raise InputError("one example has more voices than batch has rows; give a larger batch or fewer frames")
        offsets = (first[example] - self.starts[note]) * self.spectral.oversampling
        starts = offsets[:, None] + self.spectral.frame_step * np.arange(self.frames)
        inputs = voice_inputs(self.voices[note], starts, self.table, self.settings, self.heard)
        inputs["gain"] = self.heard.gains(self.voices[note])
        own = {name: value for name, value in inputs.items() if name not in SHARED}
        inputs |= {name: _pad_rows(value, rows) for name, value in own.items()}  # a shape that never changes
        if self.mixed:
            inputs["example"] = _pad_rows(example.astype(np.int32), rows, rows - 1)
            target = _pad_rows(target, rows)
        return Batch(inputs, target)


def holdout_blocks(end: int, fraction: float, width: int) -> list[tuple[int, int]]:
    """Return (first, last) samples of up to eight stretches held out from training, spread evenly over 0..end. Each is
    at least as long as two examples of `width` samples."""
    if fraction <= 0:
        return []
    blocks = int(np.clip(fraction * end / (2 * width), 1, 8))
    period = end / blocks
    return [(int((i + 1 - fraction) * period), int((i + 1) * period)) for i in range(blocks)]


def holdout_notes(rows: np.ndarray, held: np.ndarray, fraction: float) -> np.ndarray:
    """Return which notes are held out from training, bool (notes,): spread evenly, never the longest one of its row,
    which alone shows how a key decays. rows: of a network's tables (notes,); held: samples of each note (notes,)."""
    chosen = np.diff(np.floor(np.arange(len(held) + 1) * fraction)) > 0
    order = np.lexsort([-held, rows])
    chosen[order[np.unique(rows[order], return_index=True)[1]]] = False
    return chosen


def _pad_rows(array: np.ndarray, rows: int, value: int = 0) -> np.ndarray:
    widths = [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, widths, constant_values=value)


def copy_segments(signal: np.ndarray, first: np.ndarray, out: np.ndarray) -> None:
    """Copy signal[f : f + width] into each row of `out` (rows, width); what lies outside the signal stays as it is."""
    width = out.shape[1]
    inside = (first >= 0) & (first + width <= len(signal))
    if inside.any():
        out[inside] = np.lib.stride_tricks.sliding_window_view(signal, width)[first[inside]]
    for row in np.flatnonzero(~inside):
        begin, end = max(first[row], 0), min(first[row] + width, len(signal))
        if begin < end:
            out[row, begin - first[row] : end - first[row]] = signal[begin:end]
