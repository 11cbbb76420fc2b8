"""The modes of a key as the carriers of a modal network (notebook 05_train): sines at the frequencies that
instruments.modes measured, phase 0 at the note's start. A network gives each a gain for each frame, and the spectrum of
their sum follows. Complex numbers are real pairs (..., 2)."""

import numpy as np

from nnss_utils.dsp.stft import Spectral, window_samples
from nnss_utils.instruments.modes import MODES
from nnss_utils.instruments.tuning import Tuning
from nnss_utils.model.backend import ops
from nnss_utils.model.codification import Codification, release_fade
from nnss_utils.model.pairs import complex_product

BLOCK = 256  # samples of a frame that one product makes
SHARED = ("samples", "blocks")  # inputs that all voices share


class ModeTable:
    """The modes of all keys as a modal network's inputs."""

    def __init__(self, tuning: Tuning, codification: Codification, spectral: Spectral) -> None:
        """Take the modes of `tuning` and the release of `codification`, for frames of `spectral`."""
        self.low, self.fade = tuning.low, np.append(release_fade(codification.release), np.float32(0))
        pitches = range(tuning.low, tuning.high + 1)
        modes = tuning.modes or [tuning.partials(pitch) for pitch in pitches]  # not measured: partials
        self.cycles = np.zeros((len(pitches), MODES))  # a sample; 0 where a key has fewer modes
        for row, frequencies in zip(self.cycles, modes, strict=True):
            lowest = np.sort(frequencies)[: min(codification.partials or MODES, MODES)] if codification.tone else []
            row[: len(lowest)] = np.array(lowest) / spectral.rate
        blocks = -(-spectral.frame_length // BLOCK)
        middles = phasors((BLOCK * np.arange(blocks)[:, None] + (BLOCK - 1) / 2) * self.cycles[:, None])
        samples = np.moveaxis(phasors(self.cycles[..., None] * (np.arange(BLOCK // 2) + 0.5)), -1, 1)
        self.shared = {"samples": ops.convert_to_tensor(samples), "blocks": ops.convert_to_tensor(middles)}

    def inputs(
        self, pitch: np.ndarray, starts: np.ndarray, since_off: np.ndarray, unheard: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return "phasors", pairs (voices, frames, MODES, 2), e^(2 pi j f n) at the starts n of frames; "starts", int32
        (voices, frames); "key", int32 (voices,), the rows of SHARED; and these tables of all keys: "blocks", pairs
        (keys, blocks, MODES, 2), from a frame's start to its blocks' middles, and "samples", float32 (keys, 2, MODES,
        BLOCK / 2), cosines and sines after a middle. pitch: (voices,); starts: samples (voices, frames) since note-on;
        since_off: samples from note-off to the frame's middle, where the phasors fade as `release_fade`; unheard:
        seconds beyond the longest note that was heard, where they decay."""
        key = pitch - self.low
        cycles = self.cycles[key]
        released = self.fade[np.clip(since_off, 0, len(self.fade) - 1).astype(np.int64)]
        decay = np.exp(-np.maximum(unheard, 0) / typical_decay(pitch)[:, None])
        gain = (released * decay)[..., None] * (cycles > 0)[:, None, :]
        return {
            "phasors": phasors(cycles[:, None, :] * starts[..., None]) * gain[..., None].astype(np.float32),
            "key": key.astype(np.int32), "starts": starts.astype(np.int32), **self.shared,
        }  # fmt: skip


def phasors(turns: np.ndarray) -> np.ndarray:
    """Return e^(2 pi j turns) as pairs, float32 (..., 2). turns: float64, since a float32 of ten seconds' turns is
    wrong by a tenth."""
    angle = (2 * np.pi * (turns - np.floor(turns))).astype(np.float32)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def typical_decay(pitch: np.ndarray) -> np.ndarray:
    """Return the usual time constant (s) of a piano's held key: 3 s in the bass, 0.3 s at the top."""
    return 3.0 * 10 ** (-(np.asarray(pitch) - 21) / 87)


def tone_frames(amplitudes, blocks, samples, starts, spectral: Spectral):
    """Return the windowed frames (voices, frames, frame_length) of sum_m Re(a_m e^(2 pi j f_m n)), silent before
    note-on. amplitudes: pairs (voices, frames, MODES, 2) at the frame's start; the others as `ModeTable.inputs` returns
    them. A block of samples is its middle's phasors times cosines and sines that all frames of a voice share (angle
    addition), in a matrix product. Before the middle, cosines are the same as after it and sines the opposite."""
    parts = complex_product(amplitudes[:, :, None], blocks[:, None])
    _, frames, count, modes, _ = parts.shape
    parts = ops.reshape(parts, (-1, frames * count, modes, 2))
    even, odd = (ops.matmul(parts[..., number], samples[:, number]) for number in (0, 1))
    sound = ops.concatenate([ops.flip(even + odd, axis=-1), even - odd], axis=-1)
    sound = ops.reshape(sound, (-1, frames, count * BLOCK))[..., : spectral.frame_length]
    heard = ops.expand_dims(starts, -1) + np.arange(spectral.frame_length, dtype=np.int32) >= 0
    return sound * (ops.cast(heard, "float32") * window_samples(spectral))
