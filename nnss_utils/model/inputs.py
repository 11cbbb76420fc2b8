"""A mask network's inputs of each voice: tone, ringing impulse, time features and pitch (notebook 01_codification). A
voice's features describe its own note only: those of other notes would be constant in training and not in a piece."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnss_utils.dsp.demodulation import carrier_factors
from nnss_utils.dsp.stft import Spectral, oversample, samples_of_frames, stft, window_samples
from nnss_utils.midi import Note, samples_of
from nnss_utils.model.codification import NOTE_OFF_AMPLITUDE, ToneTable
from nnss_utils.model.pairs import as_pairs
from nnss_utils.model.settings import Settings
from nnss_utils.model.time_basis import note_features

_BLOCK = 2**17  # samples that are copied and transformed at a time: they stay in a processor's cache


@dataclass(frozen=True)
class Voices:
    """Notes as integer arrays (voices,): pitch, velocity, and the samples that each is held."""

    pitch: np.ndarray
    velocity: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, notes: Sequence[Note]) -> "Voices":
        """Return the arrays of `notes`."""
        rows = [(note.pitch, note.velocity, samples_of(note)[1]) for note in notes]
        return cls(*np.array(rows, np.int64).reshape(-1, 3).T)

    def __getitem__(self, rows: np.ndarray) -> "Voices":
        """Return the voices numbered `rows`."""
        return Voices(self.pitch[rows], self.velocity[rows], self.held[rows])

    def __len__(self) -> int:
        return len(self.pitch)


def voice_inputs(
    voices: Voices, offsets: np.ndarray, table: ToneTable, settings: Settings, frames: int, longest: float
) -> dict[str, np.ndarray]:
    """Return a mask network's inputs for `frames` frames of each voice. offsets: samples (voices,) from each note's
    start to its first frame's start, negative before the note; longest: seconds after which a note's time stands still.
    Returns "tone", pairs (voices, frames, bins, 2); "coarse" and "fine", pairs of `impulse_factors`; "features",
    float32 (voices, frames, FEATURES); "pitch", int32 (voices, frames)."""
    spectral, o, offsets = settings.spectral, settings.spectral.oversampling, np.asarray(offsets, np.int64)

    def copy_tones(out: np.ndarray, rows: slice) -> None:
        table.copy_many(out, voices.pitch[rows], voices.held[rows], offsets[rows])

    starts, held = offsets[:, None] * o + spectral.frame_step * np.arange(frames), voices.held[:, None]
    coarse, fine = map(as_pairs, impulse_factors(starts, held * o, settings))
    middle = (starts + spectral.frame_length / 2) / o
    return {
        "tone": as_pairs(spectra_of(len(voices), frames, copy_tones, spectral)),
        "coarse": coarse,
        "fine": fine,
        "features": note_features(middle, middle - held, voices.velocity[:, None], longest),
        "pitch": np.repeat(voices.pitch[:, None].astype(np.int32), frames, axis=1),
    }


def spectra_of(rows: int, frames: int, copy: Callable[[np.ndarray, slice], None], spectral: Spectral) -> np.ndarray:
    """Return scaled spectra complex64 (rows, frames, bins) of rows of sound, a block of rows at a time. copy(out, rows)
    writes the sound of `rows` at the plain rate into `out` (rows, samples), which holds zeros."""
    width = -(-samples_of_frames(frames, spectral) // spectral.oversampling)
    out = np.empty((rows, frames, spectral.bins), np.complex64)
    size = max(1, _BLOCK // width)
    for first in range(0, rows, size):
        block = slice(first, min(first + size, rows))
        segments = np.zeros((block.stop - first, width), np.float32)
        copy(segments, block)
        out[block] = stft(oversample(segments.T, spectral.oversampling).T, spectral, pad=False, scaled=True)[:, :frames]
    return out


def impulse_factors(starts: np.ndarray, held: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return the impulse channel as two factors, complex64 (voices, frames, impulses, n) each. starts: samples (voices,
    frames) from each note's start to each frame's; held: samples (voices, 1) of the note. The impulses are at note-on
    and note-off. `pairs.outer_product` multiplies the factors: less to move than all bins."""
    spectral, codification = settings.spectral, settings.codification
    if codification.impulse == "frame":  # as strong, but the frame, not the note, sets the phase: no factors
        ringing = replace(settings, codification=replace(codification, impulse="ringing"))
        strong = np.abs(impulse_channel(starts, held, ringing)).astype(np.complex64)[..., None, :]
        return strong, np.ones((*starts.shape, 1, 1), np.complex64)
    position = np.stack([-starts, held - starts], axis=-1)
    strength = np.float32([1, NOTE_OFF_AMPLITUDE]) * (codification.impulse != "none")
    amplitude = impulse_amplitude(position, spectral, codification.ring) * strength
    coarse, fine = carrier_factors(spectral, position.ravel(), amplitude.ravel())
    return coarse.reshape(*position.shape, -1), fine.reshape(*position.shape, -1)


def impulse_channel(starts: np.ndarray, held: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the spectra complex64 (voices, frames, bins) of the impulses, parameters as of `impulse_factors`."""
    coarse, fine = impulse_factors(starts, held, settings)
    product = np.sum(coarse[..., :, None] * fine[..., None, :], axis=-3)
    return product.reshape(*starts.shape, -1)[..., : settings.spectral.bins]


def impulse_amplitude(position: np.ndarray, spectral: Spectral, ring: float) -> np.ndarray:
    """Return the magnitude float32 (...) of every bin of a frame, an impulse lying at its sample `position`. The
    spectrum is w[n] e^(-2 pi j k n / N), 1 in the window's middle. Then every bin rings on, with the time constant
    `ring` (s), as a resonator: a carrier for sound that a hammer excites between the partials."""
    half = spectral.frame_length // 2
    rising = window_samples(spectral)[np.clip(position, 0, spectral.frame_length - 1)]
    ringing = np.exp(np.minimum(position - half, 0) / (ring * spectral.rate)).astype(np.float32)
    audible = (position < spectral.frame_length) & (position > half - 10 * ring * spectral.rate)
    return np.where(position >= half, rising, ringing) * audible
