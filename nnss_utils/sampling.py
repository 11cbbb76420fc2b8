"""Training examples drawn at random samples of a pair, their spectra made on the fly (notebook 05_train).

Nothing is kept on disk, and every batch follows from (seed, number) alone, so that training resumes exactly.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nnss_utils.codification import ToneTable, codify
from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.midi import Note, samples_of
from nnss_utils.spectral import SAMPLE_RATE, heterodyne
from nnss_utils.tuning import Tuning
from nnss_utils.voices import Voices, as_pairs, example_samples, spectra_of, voice_inputs
from nnss_utils.wav import unload

SHORTEST_SOUND = 0.0136  # s of a note that a frame hears at least (600 samples; less is below the window's edge)


@dataclass(frozen=True)
class Batch:
    """Arrays for one step: `inputs` by name, the target's spectra (examples, frames, bins, 2), and for voices
    which example each belongs to (None where each example has one voice or the network hears the mix)."""

    inputs: dict[str, np.ndarray]
    target: np.ndarray
    example: np.ndarray | None = None


def holdout_blocks(end: int, fraction: float, width: int) -> list[tuple[int, int]]:
    """Return (first, last) samples of stretches kept from training, spread evenly over 0..end.

    Up to eight, fewer where they would be shorter than two examples of `width` samples.
    """
    if fraction <= 0:
        return []
    blocks = int(np.clip(fraction * end / (2 * width), 1, 8))
    period = end / blocks
    return [(int((i + 1 - fraction) * period), int((i + 1) * period)) for i in range(blocks)]


def holdout_notes(notes: Sequence[Note], fraction: float) -> np.ndarray:
    """Return which notes (bool) are kept from training: spread evenly, never the last one of its pitch."""
    chosen = np.diff(np.floor(np.arange(len(notes) + 1) * fraction)) > 0
    left = Counter(note.pitch for note in notes)
    for i in np.flatnonzero(chosen):
        left[notes[i].pitch] -= 1
        if not left[notes[i].pitch]:
            chosen[i], left[notes[i].pitch] = False, 1
    return chosen


class PairSampler:
    """Draws batches from one pair of notes and audio at the network's frame grid.

    A row of a batch is a sequence of frames, or, where notes are separate and the network needs no sequences
    (`loose`), frames at random moments of one note.
    """

    def __init__(self, notes: Sequence[Note], audio: np.ndarray, settings: Settings, tuning: Tuning | None) -> None:
        """Prepare drawing; `audio` is float32 (samples,) at 44.1 kHz."""
        self.settings, self.spectral, self.audio = settings, settings.spectral, audio
        self.notes = sorted(notes)
        self.voices = Voices.of(self.notes)
        self.starts, self.held = np.array([samples_of(note)[0] for note in self.notes]), self.voices.held
        self.release = round(settings.codification.release * SAMPLE_RATE)
        self.ends = self.starts + self.held + self.release
        self.longest = float(np.max(self.ends - self.starts)) / SAMPLE_RATE
        self.latest_end = np.maximum.accumulate(self.ends)
        network, frames = settings.network, settings.training.frames
        self.width = self._samples(1)
        self.loose = network.per_voice and not network.sequences and not self._crowded()
        if not self.loose:
            self.width = self._samples(frames)
        self.mixed = network.per_voice and not self.loose and self._crowded()
        self.blocks = holdout_blocks(len(audio), settings.training.holdout, self.width)
        self.held_out = holdout_notes(self.notes, settings.training.holdout)
        if network.per_voice:
            self.table = ToneTable(tuning, self.notes, settings.codification)
        self.tuning = tuning

    def _samples(self, frames: int) -> int:
        """Return how many samples of the plain rate so many frames cover."""
        return -(-example_samples(self.spectral, frames) // self.spectral.oversampling)

    def _crowded(self) -> bool:
        """Return whether an example of `width` samples may hear two notes."""
        return bool(np.any(self.starts[1:] - self.latest_end[:-1] < self.width))

    def positions(self, number: int) -> np.ndarray:
        """Return the first samples of the examples of training batch `number`: (batch,), loose (batch, frames)."""
        return self._draw(self._random(1, number), validation=False)[1]

    def batch(self, number: int) -> Batch:
        """Return training batch `number`: the same arrays whenever it is asked for."""
        return self._make(*self._draw(self._random(1, number), validation=False))

    def validation_batch(self, number: int = 0) -> Batch | None:
        """Return a batch from what is held out, None where nothing is."""
        if not (self.held_out.any() if self.loose else self.blocks):
            return None
        return self._make(*self._draw(self._random(2, number), validation=True))

    def _random(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.training.seed, purpose, number])

    def _draw(self, rng: np.random.Generator, *, validation: bool) -> tuple[np.ndarray | None, np.ndarray]:
        """Return each row's note (batch,), None for sequences, and first samples as `positions` does."""
        training = self.settings.training
        if not self.loose:
            first = self._draw_sequences(rng, validation=validation)
            return None, first - first % training.grid
        note = rng.choice(np.flatnonzero(self.held_out == validation), training.batch)
        first = self._draw_moments(rng, note, training.frames)
        return note, first - first % training.grid

    def _draw_moments(self, rng: np.random.Generator, note: np.ndarray, frames: int) -> np.ndarray:
        """Return first samples (batch, frames) of frames that touch their notes (batch,).

        Six in ten are drawn evenly in the logarithm of the time that the note has sounded at the frame's end, so
        that each part of the attack and of the decay gets its share; three in twenty around the note's end, where
        the damper falls; the others anywhere.
        """
        start, end, width = self.starts[note, None], self.ends[note, None], self.width
        size = len(note), frames
        sounded = np.exp(rng.uniform(np.log(SHORTEST_SOUND * SAMPLE_RATE), np.log(width + end - start), size))
        since_on = start - width + sounded.astype(np.int64)
        around_off = start + self.held[note, None] + rng.integers(-width, width, size)
        anywhere = start - width // 2 + (rng.random(size) * (end - start + width // 2)).astype(np.int64)
        kind = rng.random(size)
        return np.where(kind < 0.6, since_on, np.where(kind < 0.75, around_off, anywhere))

    def _draw_sequences(self, rng: np.random.Generator, *, validation: bool) -> np.ndarray:
        """Return first samples (batch,) of examples: half near a note's start or end, half anywhere in a note."""
        found = np.zeros(0, np.int64)
        for _ in range(50):
            first = self._candidates(rng, 4 * self.settings.training.batch)
            inside = np.zeros(len(first), bool)
            outside = np.ones(len(first), bool)
            for low, high in self.blocks:
                inside |= (first >= low) & (first + self.width <= high)
                outside &= (first >= high) | (first + self.width <= low)
            found = np.concatenate([found, first[inside if validation else outside]])
            if len(found) >= self.settings.training.batch:
                return found[: self.settings.training.batch]
        raise InputError(
            f"the pair is too short to draw examples of {self.width / SAMPLE_RATE:.2f} s "
            f"{'from its held-out part' if validation else 'from'}; give a longer one, fewer frames, or holdout=0"
        )

    def _candidates(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return random first samples (count,) of examples, wherever the held-out stretches are."""
        note = rng.integers(len(self.notes), size=count)
        start, end, width = self.starts[note], self.ends[note], self.width
        event = np.where(rng.random(count) < 0.5, start, start + self.held[note])
        near_event = event - rng.integers(-SAMPLE_RATE // 50, width, size=count)
        anywhere = start - width // 2 + (rng.random(count) * (end - start + width // 2)).astype(np.int64)
        return np.where(rng.random(count) < 0.5, near_event, anywhere)

    def _make(self, note: np.ndarray | None, first: np.ndarray) -> Batch:
        """Return the arrays of the examples that start at samples `first`, of the notes `note` where loose."""
        if self.loose:
            return self._loose_frames(note, first)
        target = as_pairs(self._target(first))
        if self.settings.network.per_voice:
            return self._voices(first, target)
        ranges = self._sounding(first)

        def copy_codification(out: np.ndarray, rows: slice) -> None:
            for row, at, (low, high) in zip(out, first[rows], ranges[rows], strict=True):
                row[:] = codify(self.notes[low:high], len(row), self.settings.codification, self.tuning, at).sum(axis=0)

        codification = self._heterodyned(self._spectra(first, copy_codification), first)
        start = (first * self.spectral.oversampling % self.spectral.frame_length).astype(np.int32)
        return Batch({"codification": as_pairs(codification), "start": start}, target)

    def _loose_frames(self, note: np.ndarray, first: np.ndarray) -> Batch:
        """Return a batch of frames at random moments: made one by one, then put in rows (batch, frames)."""
        each, rows = np.repeat(note, first.shape[1]), first.shape
        inputs = voice_inputs(
            self.voices[each], first.ravel() - self.starts[each], self.table, self.settings, 1, self.longest
        )
        gain = inputs.pop("gain").reshape(rows)[:, 0]
        inputs = {name: value.reshape(*rows, *value.shape[2:]) for name, value in inputs.items()}
        target = as_pairs(self._target(first.ravel(), 1))
        return Batch(inputs | {"gain": gain}, target.reshape(*rows, *target.shape[2:]))

    def _sounding(self, first: np.ndarray) -> np.ndarray:
        """Return for each example the range of notes (examples, 2) that holds all that sound in it."""
        low = np.searchsorted(self.latest_end, first, side="right")
        return np.stack([low, np.searchsorted(self.starts, first + self.width, side="left")], axis=1)

    def _target(self, first: np.ndarray, frames: int = 0) -> np.ndarray:
        """Return the audio's scaled spectra (examples, frames, bins) from samples `first` on; frames=0: as set."""
        spectra = self._spectra(first, lambda out, rows: copy_segments(self.audio, first[rows], out), frames)
        unload(self.audio)
        return self._heterodyned(spectra, first)

    def _spectra(self, first: np.ndarray, copy: Callable, frames: int = 0) -> np.ndarray:
        """Return scaled spectra (examples, frames, bins) of what `copy` writes, as `spectra_of` asks for it."""
        return spectra_of(len(first), frames or self.settings.training.frames, copy, self.spectral)

    def _heterodyned(self, spectra: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Return spectra heterodyned if asked for; a mask needs none: its codification has the same carriers."""
        if not self.spectral.heterodyne or self.settings.network.per_voice:
            return spectra
        at = first * self.spectral.oversampling
        return np.stack([heterodyne(s, self.spectral, int(n)) for s, n in zip(spectra, at, strict=True)])

    def _voices(self, first: np.ndarray, target: np.ndarray) -> Batch:
        """Return a batch of voices: every note that sounds in an example is a row of its own.

        With overlapping notes, as many examples are kept as have no more voices in all than a batch has rows.
        """
        ranges = enumerate(self._sounding(first))
        pairs = [(e, n) for e, (low, high) in ranges for n in range(low, high) if self.ends[n] > first[e]]
        example, note = np.array(pairs, np.int64).reshape(-1, 2).T
        rows = self.settings.training.batch
        if len(example) > rows:  # drop the examples that no longer fit
            kept = example[rows] if example[rows] > 0 else len(first)
            inside = example < kept
            example, note, target = example[inside], note[inside], target[:kept]
        if not len(example):
            raise InputError("one example has more voices than batch has rows; give a larger batch or fewer frames")
        inputs = voice_inputs(
            self.voices[note], first[example] - self.starts[note], self.table, self.settings,
            self.settings.training.frames, self.longest,
        )  # fmt: skip
        return padded(inputs, target, example, rows, self.mixed)


def padded(inputs: dict, target: np.ndarray, example: np.ndarray, rows: int, mixed: bool) -> Batch:
    """Return a batch with as many voices and examples as `rows`, so that its shape never changes."""
    inputs = {name: _pad_rows(value, rows) for name, value in inputs.items()}
    if not mixed:
        return Batch(inputs, target)
    return Batch(inputs, _pad_rows(target, rows), _pad_rows(example.astype(np.int32), rows, rows - 1))


def _pad_rows(array: np.ndarray, rows: int, value: int = 0) -> np.ndarray:
    widths = [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, widths, constant_values=value)


def copy_segments(signal: np.ndarray, first: np.ndarray, out: np.ndarray) -> None:
    """Copy signal[f : f + width] into each row of `out` (rows, width), leaving what lies outside the signal."""
    width = out.shape[1]
    inside = (first >= 0) & (first + width <= len(signal))
    if inside.any():
        out[inside] = np.lib.stride_tricks.sliding_window_view(signal, width)[first[inside]]
    for row in np.flatnonzero(~inside):
        begin, end = max(first[row], 0), min(first[row] + width, len(signal))
        if begin < end:
            out[row, begin - first[row] : end - first[row]] = signal[begin:end]
