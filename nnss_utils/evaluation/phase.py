"""Phases: smoothness from frame to frame, coherence from strike to strike (notebook 02_phase_analysis)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.demodulation import heterodyne
from nnss_utils.dsp.normalization import normalize
from nnss_utils.dsp.stft import Spectral, stft, third_octave_edges
from nnss_utils.errors import InputError, check_number
from nnss_utils.instruments.pair import Pair
from nnss_utils.midi import Note, moved, samples_of

STRETCH = 4096  # frames at a time
WEAKEST_DB = -60.0  # below the strongest band: quieter bands don't count
BEFORE, AFTER = 0.02, 0.15  # s of a strike before and after its note's start


def relative_change(sound: np.ndarray, spectral: Spectral, power: float | str) -> np.ndarray:
    """Return the change of each bin from frame to frame, float64 (bins,), of a sound (samples,). sum |Y[n+1] - Y[n]|^2
    / sum |Y[n]|^2 of the normalized spectrogram: 0 stands still, 2 is uncorrelated, 4 turns by half a turn each frame.
    Raises `InputError` where the sound is shorter than two frames."""
    length, step = spectral.frame_length, spectral.frame_step
    frames = 1 + (len(sound) - length) // step
    if frames < 2:
        raise InputError(f"a sound of {len(sound)} samples has no two frames of {length}; give a longer one")
    sums = np.zeros((2, spectral.bins))
    for first in range(0, frames - 1, STRETCH):
        last = min(first + STRETCH, frames - 1)
        S = stft(sound[first * step : last * step + length], spectral, pad=False)
        Y = normalize(heterodyne(S, spectral, first * step) if spectral.heterodyne else S, power)
        sums += [np.sum(np.abs(np.diff(Y, axis=0)) ** 2, axis=0), np.sum(np.abs(Y[:-1]) ** 2, axis=0)]
    return sums[0] / np.maximum(sums[1], 1e-30)


def carrier_change(spectral: Spectral) -> np.ndarray:
    """Return the relative change (bins,) of bins that only turn with their carrier, the author's "aliasing"."""
    return 2 - 2 * np.cos(2 * np.pi * np.arange(spectral.bins) * spectral.frame_step / spectral.frame_length)


def jittered(notes: Sequence[Note], milliseconds: float, seed: int = 0) -> list[Note]:
    """Return notes moved by normally distributed times (standard deviation in ms), with the same lengths."""
    check_number("jitter_ms", milliseconds, 0, 1000)
    rng = np.random.default_rng(seed)
    moves = np.maximum(rng.normal(0, milliseconds / 1000, len(notes)), [-note.start for note in notes])
    return moved(notes, moves)


def jitter_limit(frequencies: np.ndarray, milliseconds: float) -> np.ndarray:
    """Return the share of the energy that repeats under an onset jitter: exp(-(2 pi f sigma)^2), f in Hz."""
    return np.exp(-((2 * np.pi * np.asarray(frequencies) * milliseconds / 1000) ** 2))


@dataclass(frozen=True)
class Coherence:
    """Similarity of one key's strikes: the share of each bin's energy that repeats, float64 (bins,). energy: of each
    bin, float64 (bins,); strikes: their number; alone: whether no other note sounded in any of them."""

    spectral: Spectral
    share: np.ndarray
    energy: np.ndarray
    strikes: int
    alone: bool

    def bands(self) -> list[tuple[float, float, float]]:
        """Return (low Hz, high Hz, share that repeats) of each third-octave band from 100 Hz up that is loud enough."""
        frequencies, rows = self.spectral.frequencies(), []
        for low, high in pairwise(third_octave_edges().tolist()):
            inside = (frequencies >= low) & (frequencies < high)
            energy = self.energy[inside].sum()
            rows.append((low, high, float((self.share * self.energy)[inside].sum() / max(energy, 1e-30)), energy))
        loudest = max(energy for *_, energy in rows)
        return [row[:3] for row in rows if row[3] > loudest * 10 ** (WEAKEST_DB / 10)]

    @property
    def whole(self) -> bool:
        """Whether every band that is loud enough can be learnt."""
        return self.learnable_hz() == self.bands()[-1][1]

    def learnable_hz(self) -> float:
        """Return the learnable bandwidth in Hz: up to it, every band repeats at least half of its energy. No prediction
        from notes can explain more than what repeats: half is a complex SNR of at most 3 dB."""
        repeating = takewhile(lambda band: band[2] >= 0.5, self.bands())
        return max((high for _, high, _ in repeating), default=0.0)


def coherence(pair: Pair) -> Coherence | None:
    """Return how far strikes of the same key at the same velocity repeat in a pair, phases included. Frames lie between
    BEFORE and AFTER the note's start; strikes in which another note sounds are used only if there are no others. None
    if no key is struck twice."""
    spectral = Spectral(1024, 256, heterodyne=False, bins=513)
    alone = _strikes(pair, alone=True)
    if not (groups := alone or _strikes(pair, alone=False)):
        return None
    repeating, energy = np.zeros(spectral.bins), np.zeros(spectral.bins)
    for group in groups:
        spectra = stft(group, spectral, pad=False).astype(np.complex128)
        count, mean = len(group), np.mean(np.abs(spectra) ** 2, axis=0)
        # the mean of `count` random phases keeps 1 / count of the energy: subtract it
        common = (count * np.abs(spectra.mean(axis=0)) ** 2 - mean) / (count - 1)
        repeating += common.sum(axis=0)
        energy += mean.sum(axis=0)
    share = np.clip(repeating / np.maximum(energy, 1e-30), 0, 1)
    return Coherence(spectral, share, energy, sum(map(len, groups)), bool(alone))


def _strikes(pair: Pair, *, alone: bool) -> list[np.ndarray]:
    """Return the strikes, float32 (strikes, samples), of each key and velocity that is struck at least twice."""
    before, width = round(BEFORE * SAMPLE_RATE), round((BEFORE + AFTER) * SAMPLE_RATE)
    notes, groups = sorted(pair.notes), defaultdict(list)
    ends = [-np.inf, *np.maximum.accumulate([note.end for note in notes[:-1]])]  # of all notes before each
    following = [*(note.start for note in notes[1:]), np.inf]
    for note, end, start in zip(notes, ends, following, strict=False):
        first = samples_of(note)[0] - before
        crowded = end > note.start - BEFORE or start < note.start + AFTER
        fits = 0 <= first <= len(pair.audio) - width and note.duration >= AFTER
        if fits and not (alone and crowded):
            groups[note.pitch, note.velocity].append(pair.audio[first : first + width])
    return [np.stack(group) for group in groups.values() if len(group) > 1]
