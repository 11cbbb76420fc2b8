"""A mask network's inputs of each voice: tone, ringing impulse, time features and pitch (notebook 01_codification). A
voice's features describe its own note only: those of other notes would be constant in training and not in a piece."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import carrier_factors
from nnss_utils.dsp.normalization import LOGARITHM
from nnss_utils.dsp.stft import Spectral, oversample, samples_of_frames, stft, window_samples
from nnss_utils.instruments.base import velocity_gain
from nnss_utils.instruments.dynamics import Dynamics
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.midi import PITCHES, Note, samples_of
from nnss_utils.model.codification import NOTE_OFF_AMPLITUDE, ToneTable
from nnss_utils.model.modes import ModeTable
from nnss_utils.model.pairs import as_pairs
from nnss_utils.model.settings import Settings
from nnss_utils.model.time_basis import ATTACK, note_features

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


@dataclass(frozen=True)
class Heard:
    """What a network has heard of the keys from `low` up: `seconds` after note-on of each key, and the lowest and the
    highest velocity. Beyond, a note's time and velocity stand still: a network knows nothing there. keys: those that
    have tables in a modal network; dynamics: the velocities that have tables of their own, None for one of all."""

    low: int
    seconds: tuple[float, ...]
    velocities: tuple[int, int]
    keys: tuple[int, ...] = tuple(range(PITCHES))
    dynamics: Dynamics | None = None

    @classmethod
    def of(cls, notes: Sequence[Note], settings: Settings, dynamics: Dynamics | None = None) -> "Heard":
        """Return what `notes` let a network hear. Modal networks have a key's curves from its own notes; others learn
        from all keys how long a note may last."""
        low, high = min(note.pitch for note in notes), max(note.pitch for note in notes)
        seconds = np.zeros(high + 1 - low)
        for note in notes:
            seconds[note.pitch - low] = max(seconds[note.pitch - low], samples_of(note)[1] / SAMPLE_RATE)
        if not settings.network.kind.modes:
            seconds[:] = seconds.max() + settings.codification.release_samples / SAMPLE_RATE
        seconds[seconds == 0] = seconds.max()  # a key without a note gets the tables of another
        velocities = [note.velocity for note in notes]
        keys = tuple(sorted({note.pitch for note in notes})) if settings.network.kind.modes else cls.keys
        return cls(low, tuple(seconds.tolist()), (min(velocities), max(velocities)), keys, dynamics)

    def longest(self, pitch: np.ndarray) -> np.ndarray:
        """Return the seconds that were heard of each pitch, float64 (...)."""
        return np.array(self.seconds)[pitch - self.low]

    def velocity(self, velocity: np.ndarray) -> np.ndarray:
        """Return the nearest velocities that were heard."""
        if self.dynamics:
            return np.array(self.dynamics.velocities)[self.dynamics.nearest(velocity)]
        return np.clip(velocity, *self.velocities)

    def layers(self, pitch: int, velocity: int) -> list[tuple[int, float]]:
        """Return the heard velocities, and the factors, of a network's sounds that add up to a velocity's."""
        if self.dynamics:
            return self.dynamics.layers(pitch, velocity)
        return [(int(self.velocity(velocity)), float(velocity_gain(velocity)))]

    def gains(self, voices: Voices) -> np.ndarray:
        """Return the factor of a network's sound of each voice, which has a heard velocity, float32 (voices,)."""
        pairs = zip(voices.pitch.tolist(), voices.velocity.tolist(), strict=True)
        return np.array([self.layers(pitch, velocity)[0][1] for pitch, velocity in pairs], np.float32)

    @property
    def tables(self) -> tuple[int, int]:
        """Numbers of keys and of velocities that have tables."""
        return len(self.keys), len(self.dynamics.velocities) if self.dynamics else 1

    def rows(self, voices: Voices) -> np.ndarray:
        """Return the rows of a modal network's tables that voices use, int32 (voices,): a key's velocities follow each
        other. A key without tables has those of a key near it."""
        velocity = self.dynamics.nearest(voices.velocity) if self.dynamics else 0
        key = np.minimum(np.searchsorted(self.keys, voices.pitch), len(self.keys) - 1)
        return (key * self.tables[1] + velocity).astype(np.int32)


def voice_inputs(
    voices: Voices, starts: np.ndarray, table: ToneTable | ModeTable, settings: Settings, heard: Heard
) -> dict[str, np.ndarray]:
    """Return the inputs of a network that hears one voice at a time. starts: samples (voices, frames) from each note's
    start to its frames' starts at the oversampled rate, negative before the note. Returns "coarse" and "fine", pairs of
    `impulse_factors`; "features", float32 (voices, frames, FEATURES); "pitch", int32 (voices, frames); for a mask
    network, whose frames lie in a row, "tone", pairs (voices, frames, bins, 2); for a modal one "attack", float32
    (voices, frames, ATTACK.count), "row", int32 (voices, frames), as of `Heard.rows`, "ends", int32 (voices, frames),
    samples from a frame's start to note-off, and what `ModeTable.inputs` returns."""
    spectral, o, held = settings.spectral, settings.spectral.oversampling, voices.held[:, None]
    power = settings.training.power if settings.network.kind.modes and settings.training.power != LOGARITHM else 1.0
    coarse, fine = map(as_pairs, impulse_factors(starts, held * o, settings, power))
    middle = (starts + spectral.frame_length / 2) / o
    least = -spectral.frame_length / 2 / o if settings.network.kind.modes else -np.inf  # earlier ones know no note-off
    since_off = np.maximum(middle - held, least)
    longest = heard.longest(voices.pitch)[:, None]
    inputs = {
        "coarse": coarse,
        "fine": fine,
        "features": note_features(middle, since_off, heard.velocity(voices.velocity)[:, None], longest),
        "pitch": np.repeat(voices.pitch[:, None].astype(np.int32), starts.shape[1], axis=1),
    }
    if settings.network.kind.modes:
        inputs |= {
            "attack": ATTACK(middle / SAMPLE_RATE),
            "row": np.repeat(heard.rows(voices)[:, None], starts.shape[1], axis=1),
            "ends": (held * o - starts).astype(np.int32),
        }
        return inputs | table.inputs(voices.pitch, starts, since_off, middle / SAMPLE_RATE - longest)

    def copy_tones(out: np.ndarray, rows: slice) -> None:
        table.copy_many(out, voices.pitch[rows], voices.held[rows], starts[rows, 0] // o)

    return inputs | {"tone": as_pairs(spectra_of(*starts.shape, copy_tones, spectral))}


def make_table(tuning: Tuning, notes: Sequence[Note], settings: Settings, most: int = 0) -> ToneTable | ModeTable:
    """Return the carriers of the keys that a network hears; the tones of `notes`, if it needs tones."""
    if settings.network.kind.modes:
        return ModeTable(tuning, settings.codification, settings.spectral)
    return ToneTable(tuning, notes, settings.codification, **({"most": most} if most else {}))


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


def impulse_factors(
    starts: np.ndarray, held: np.ndarray, settings: Settings, power: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
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
    amplitude = impulse_amplitude(position, spectral, codification.ring)
    amplitude = np.sign(strength) * (amplitude * np.abs(strength)) ** np.float32(power)
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
