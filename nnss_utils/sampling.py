"""Training examples drawn at random samples of a pair, their spectra made on the fly (notebook 05_train).

Nothing is kept on disk, and every batch follows from (seed, number) alone, so that training resumes exactly.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnss_utils.codification import NOTE_OFF_AMPLITUDE, ToneTable, codify
from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.features import note_features
from nnss_utils.instrument import velocity_gain
from nnss_utils.midi import Note, samples_of
from nnss_utils.spectral import (
    SAMPLE_RATE,
    Spectral,
    carriers,
    frames_to_spectra,
    heterodyne,
    oversample,
    window_samples,
)
from nnss_utils.tuning import Tuning

SHORTEST_SOUND = 0.0136  # s of a note that a frame hears at least (600 samples; less is below the window's edge)


@dataclass(frozen=True)
class Batch:
    """Arrays for one step: `inputs` by name, the target's spectra (examples, frames, bins, 2), and for voices
    which example each belongs to (None where each example has one voice or the network hears the mix)."""

    inputs: dict[str, np.ndarray]
    target: np.ndarray
    example: np.ndarray | None = None


def as_pairs(spectra: np.ndarray) -> np.ndarray:
    """Return complex64 (...) as float32 (..., 2), without a copy where memory allows."""
    return np.ascontiguousarray(spectra, np.complex64).view(np.float32).reshape(*spectra.shape, 2)


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
        spans = np.array([samples_of(note) for note in self.notes], np.int64)
        self.starts, self.held = spans[:, 0], spans[:, 1]
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
        segments = np.zeros((first.size, self.width), np.float32)
        for row, at in zip(segments, first.flat, strict=True):
            copy_segment(self.audio, at, row)
        if self.loose:
            return self._loose_frames(note, first, segments)
        target = as_pairs(self._spectra(segments, first))
        if self.settings.network.per_voice:
            return self._voices(first, target)
        for row, at, (low, high) in zip(segments, first, self._sounding(first), strict=True):
            row[:] = codify(self.notes[low:high], len(row), self.settings.codification, self.tuning, at).sum(axis=0)
        start = (first * self.spectral.oversampling % self.spectral.frame_length).astype(np.int32)
        return Batch({"codification": as_pairs(self._spectra(segments, first)), "start": start}, target)

    def _loose_frames(self, note: np.ndarray, first: np.ndarray, segments: np.ndarray) -> Batch:
        """Return a batch of frames at random moments: made one by one, then put in rows (batch, frames)."""
        batch, frames = first.shape
        each = np.repeat(note, frames)
        inputs = voice_inputs(
            [self.notes[n] for n in each], first.ravel() - self.starts[each], self.table, self.settings, 1, self.longest
        )
        gain = inputs.pop("gain").reshape(batch, frames)[:, 0]
        rows = {name: value.reshape(batch, frames, *value.shape[2:]) for name, value in inputs.items()}
        target = as_pairs(self._spectra(segments, first.ravel(), 1))
        return Batch(rows | {"gain": gain}, target.reshape(batch, frames, *target.shape[2:]))

    def _sounding(self, first: np.ndarray) -> np.ndarray:
        """Return for each example the range of notes (examples, 2) that holds all that sound in it."""
        low = np.searchsorted(self.latest_end, first, side="right")
        return np.stack([low, np.searchsorted(self.starts, first + self.width, side="left")], axis=1)

    def _spectra(self, segments: np.ndarray, first: np.ndarray, frames: int = 0) -> np.ndarray:
        """Return scaled spectra (examples, frames, bins) of segments (examples, width), heterodyned if asked for.

        A mask needs no heterodyne: it multiplies a codification that has the same carriers. frames=0: the settings'.
        """
        spectral, frames = self.spectral, frames or self.settings.training.frames
        segments = oversample(segments.T, spectral.oversampling).T
        windows = np.lib.stride_tricks.sliding_window_view(segments, spectral.frame_length, axis=1)
        spectra = frames_to_spectra(windows[:, :: spectral.frame_step][:, :frames], spectral)
        spectra *= np.float32(spectral.scale)
        if spectral.heterodyne and not self.settings.network.per_voice:
            at = first * spectral.oversampling
            spectra = np.stack([heterodyne(s, spectral, int(n)) for s, n in zip(spectra, at, strict=True)])
        return spectra

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
            [self.notes[n] for n in note], first[example] - self.starts[note], self.table, self.settings,
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


def example_samples(spectral: Spectral, frames: int) -> int:
    """Return how many samples (of the oversampled rate) so many frames cover."""
    return spectral.frame_length + (frames - 1) * spectral.frame_step


def copy_segment(signal: np.ndarray, first: int, out: np.ndarray) -> None:
    """Copy signal[first : first + len(out)] into `out`, leaving what lies outside the signal as it is."""
    begin, end = max(first, 0), min(first + len(out), len(signal))
    if begin < end:
        out[begin - first : end - first] = signal[begin:end]


def voice_inputs(
    notes: Sequence[Note], offsets: np.ndarray, table: ToneTable, settings: Settings, frames: int, longest: float
) -> dict[str, np.ndarray]:
    """Return a mask network's inputs for `frames` frames of each voice.

    offsets: samples (voices,) from each note's start to its first frame's start, negative before the note;
    longest: seconds after which a note's time stands still.
    """
    spectral, o = settings.spectral, settings.spectral.oversampling
    held = np.array([samples_of(note)[1] for note in notes])
    segments = np.zeros((len(notes), -(-example_samples(spectral, frames) // o)), np.float32)
    for row, note, h, offset in zip(segments, notes, held, offsets, strict=True):
        table.copy(row, note.pitch, h, int(offset))
    segments = oversample(segments.T, o).T
    windows = np.lib.stride_tricks.sliding_window_view(segments, spectral.frame_length, axis=1)
    tone = frames_to_spectra(windows[:, :: spectral.frame_step][:, :frames], spectral) * np.float32(spectral.scale)
    starts = np.asarray(offsets)[:, None] * o + spectral.frame_step * np.arange(frames)  # (voices, frames)
    impulse = impulse_channel(starts, held[:, None] * o, settings)
    middle = (starts + spectral.frame_length / 2) / o
    velocity = np.array([note.velocity for note in notes])
    return {
        "tone": as_pairs(tone),
        "impulse": as_pairs(impulse),
        "features": note_features(middle, middle - held[:, None], velocity[:, None], longest),
        "pitch": np.repeat(np.array([note.pitch for note in notes], np.int32)[:, None], frames, axis=1),
        "gain": np.array([velocity_gain(v) for v in velocity], np.float32),
    }


def impulse_channel(starts: np.ndarray, held: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the spectra complex64 (voices, frames, bins) of the impulses at note-on and note-off.

    starts: samples (voices, frames) from each note's start to each frame's; held: samples (voices, 1) of the note.
    """
    spectral, codification = settings.spectral, settings.codification
    if codification.impulse == "none":
        return np.zeros((*starts.shape, spectral.bins), np.complex64)
    impulse = impulse_spectra(-starts, spectral, codification.ring)
    impulse += NOTE_OFF_AMPLITUDE * impulse_spectra(held - starts, spectral, codification.ring)
    if codification.impulse == "frame":  # as strong, but with a phase that the frame, not the note, sets
        return np.abs(impulse).astype(np.complex64)
    return impulse


def impulse_spectra(position: np.ndarray, spectral: Spectral, ring: float) -> np.ndarray:
    """Return the spectra complex64 (..., bins) of frames around one impulse at sample `position` (...) of each.

    In closed form, w[n] e^(-2 pi j k n / N), scaled so that an impulse in the window's middle measures 1. From
    there on the impulse rings: every bin goes on at its own frequency and dies away with the time constant
    `ring` (s), as an impulse leaves a bank of resonators. So what a hammer excites between the partials, and
    long after it has left the frame, still has a carrier.
    """
    position, half = np.asarray(position), spectral.frame_length // 2
    out = np.zeros((*position.shape, spectral.bins), np.complex64)
    heard = (position < spectral.frame_length) & (position > half - 10 * ring * spectral.rate)
    at = position[heard]
    rising = window_samples(spectral)[np.clip(at, 0, spectral.frame_length - 1)]
    ringing = np.exp(np.minimum(at - half, 0) / (ring * spectral.rate)).astype(np.float32)
    out[heard] = carriers(spectral, at) * np.where(at >= half, rising, ringing)[:, None]
    return out
