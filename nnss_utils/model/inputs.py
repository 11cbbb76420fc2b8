"""What a mask network hears of each voice: tone, ringing impulse, time features and pitch (notebook 01_codification).

A voice's features describe its own note only: features of other notes' events would be constant in training and not in
a piece. Each time is written on a Gaussian basis, narrow at the event and wider away from it: a linear layer of it is
a curve that moves fast in the attack and slowly in the sustain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """Return a mask network's inputs for `frames` frames of each voice.

    offsets: samples (voices,) from each note's start to its first frame's start, negative before the note; longest:
    seconds after which a note's time stands still. Returns "tone", spectra as pairs (voices, frames, bins, 2);
    "coarse" and "fine", the impulse's spectra as factors (`impulse_factors`, pairs); "features" (voices, frames,
    FEATURES), float32; "pitch", int32 (voices, frames).
    """
    spectral, o = settings.spectral, settings.spectral.oversampling
    offsets = np.asarray(offsets, np.int64)

    def copy_tones(out: np.ndarray, rows: slice) -> None:
        table.copy_many(out, voices.pitch[rows], voices.held[rows], offsets[rows])

    starts = offsets[:, None] * o + spectral.frame_step * np.arange(frames)  # (voices, frames)
    held = voices.held[:, None]
    coarse, fine = impulse_factors(starts, held * o, settings)
    middle = (starts + spectral.frame_length / 2) / o
    return {
        "tone": as_pairs(spectra_of(len(voices), frames, copy_tones, spectral)),
        "coarse": as_pairs(coarse),
        "fine": as_pairs(fine),
        "features": note_features(middle, middle - held, voices.velocity[:, None], longest),
        "pitch": np.repeat(voices.pitch[:, None].astype(np.int32), frames, axis=1),
    }


def spectra_of(rows: int, frames: int, copy: Callable[[np.ndarray, slice], None], spectral: Spectral) -> np.ndarray:
    """Return scaled spectra complex64 (rows, frames, bins) of rows of sound, a block of rows at a time.

    copy(out, rows) writes the sound of `rows` at the plain rate into `out` (rows, samples), which holds zeros.
    """
    width = -(-samples_of_frames(frames, spectral) // spectral.oversampling)
    out = np.empty((rows, frames, spectral.bins), np.complex64)
    size = max(1, _BLOCK // width)
    for first in range(0, rows, size):
        block = slice(first, min(first + size, rows))
        segments = np.zeros((block.stop - first, width), np.float32)
        copy(segments, block)
        segments = oversample(segments.T, spectral.oversampling).T
        out[block] = stft(segments, spectral, pad=False, scaled=True)[:, :frames]
    return out


def impulse_factors(starts: np.ndarray, held: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return the impulse channel as two factors, complex64 (voices, frames, impulses, n) each.

    starts: samples (voices, frames) from each note's start to each frame's; held: samples (voices, 1) of the note.
    The two impulses are those of note-on and note-off. `pairs.outer_product` multiplies the factors where the network
    computes: moving them costs less than moving all bins.
    """
    spectral, codification = settings.spectral, settings.codification
    position = np.stack([-starts, held - starts], axis=-1)
    amplitude = impulse_amplitude(position, spectral, codification.ring) * np.float32([1, NOTE_OFF_AMPLITUDE])
    if codification.impulse == "none":
        amplitude *= 0
    coarse, fine = carrier_factors(spectral, position.ravel(), amplitude.ravel())
    coarse, fine = coarse.reshape(*position.shape, -1), fine.reshape(*position.shape, -1)
    if codification.impulse != "frame":
        return coarse, fine
    # as strong, but with a phase that the frame, not the note, sets: this can't be factored
    strong = np.abs(_multiplied(coarse, fine, spectral.bins)).astype(np.complex64)[..., None, :]
    return strong, np.ones((*starts.shape, 1, 1), np.complex64)


def impulse_channel(starts: np.ndarray, held: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the spectra complex64 (voices, frames, bins) of the impulses, parameters as of `impulse_factors`."""
    return _multiplied(*impulse_factors(starts, held, settings), settings.spectral.bins)


def _multiplied(coarse: np.ndarray, fine: np.ndarray, bins: int) -> np.ndarray:
    """Return the product (..., bins) of factors (..., impulses, n), added over the impulses."""
    product = np.sum(coarse[..., :, None] * fine[..., None, :], axis=-3)
    return product.reshape(*product.shape[:-2], -1)[..., :bins]


def impulse_amplitude(position: np.ndarray, spectral: Spectral, ring: float) -> np.ndarray:
    """Return the magnitude float32 (...) of every bin of a frame, an impulse lying at its sample `position`.

    The spectrum is w[n] e^(-2 pi j k n / N), in closed form, scaled so that an impulse in the window's middle
    measures 1. After that it rings: every bin goes on at its own frequency and decays with the time constant `ring`
    (s), as in a bank of resonators. So what a hammer excites between the partials keeps a carrier after the impulse
    has left the frame.
    """
    half = spectral.frame_length // 2
    rising = window_samples(spectral)[np.clip(position, 0, spectral.frame_length - 1)]
    ringing = np.exp(np.minimum(position - half, 0) / (ring * spectral.rate)).astype(np.float32)
    audible = (position < spectral.frame_length) & (position > half - 10 * ring * spectral.rate)
    return np.where(position >= half, rising, ringing) * audible
