"""The modes of each key: the frequencies at which it rings, measured on a recording (notebook 01_codification). Most
are partials of its strings, some come in pairs (two polarizations of a string, three strings), others are longitudinal
vibrations and the soundboard's; the law of a stiff string knows the first kind only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy.signal

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.tuning import Tuning, solo_stretches
from nnss_utils.midi import Note, midi_to_hz, nearest_key

MODES = 96  # of a key at most
PEAKS = 72  # modes that are a key's strongest peaks; the others are the lowest partials that are none
WINDOWS = ((0.03, 0.33), (0.1, 1.1), (0.5, 4.5), (4.0, 12.0))  # s: modes decay soon or last
SHORTEST = 0.1  # s of a window that can be read
RANGE_DB = 70.0  # below a window's strongest peak
LEAST_HZ, MOST_HZ = 20.0, 20_000.0
RUMBLE = (22.0, 31.0, 44.0)  # Hz: the room's and the case's, which has no peak; its lowest, carrier, highest
NEAR_PARTIAL = 0.3  # of a partial's number: a mode nearer to one is a partial
APART = 1.9  # times the resolution of a window, 1 / seconds: nearer peaks are one mode


def measure_modes(audio: np.ndarray, notes: Sequence[Note], tuning: Tuning) -> Tuning:
    """Return a tuning with the modes of each key, measured where it sounds alone in `audio` (samples,) of `notes`. A
    key that never does has its partials; a key without a note has the nearest heard key's modes (`carried_modes`)."""
    solos, modes = solo_stretches(notes, WINDOWS[-1][1]), {}
    for pitch in sorted({note.pitch for note in notes}):
        start, end = solos.get(pitch, (0.0, 0.0))
        sound = audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        peaks = strongest_peaks(np.asarray(sound, np.float64))
        modes[pitch] = np.round(np.sort(with_partials(peaks, tuning.partials(pitch))), 4)
    return lend_modes(tuning, modes)


def lend_modes(tuning: Tuning, modes: Mapping[int, Sequence[float]]) -> Tuning:
    """Return a tuning with the `modes` of the keys that were heard, and for each other key the nearest one's."""
    tuning, every, pitches = tuned_between(tuning, modes), dict(modes), range(tuning.low, tuning.high + 1)
    for pitch in set(pitches) - set(modes):
        lender = nearest_key(pitch, modes)
        every[pitch] = carried_modes(modes[lender], tuning, lender, pitch)
    return replace(tuning, modes=tuple(tuple(np.sort(every[pitch]).tolist()) for pitch in pitches))


def tuned_between(tuning: Tuning, heard: Iterable[int]) -> Tuning:
    """Return a tuning whose other keys lie between the keys `heard`: in cents beside equal temperament, and in the
    logarithm of B."""
    keys, every = sorted(heard), np.arange(tuning.low, tuning.high + 1)
    rows, nominal = np.array(keys) - tuning.low, midi_to_hz(every)
    stretch = np.interp(every, keys, np.log(np.array(tuning.f0) / nominal)[rows])
    b = np.exp(np.interp(every, keys, np.log(np.maximum(tuning.inharmonicity, 1e-9))[rows]))
    f0 = nominal * np.exp(stretch)
    f0[rows], b[rows] = np.array(tuning.f0)[rows], np.array(tuning.inharmonicity)[rows]
    return replace(tuning, f0=tuple(f0.tolist()), inharmonicity=tuple(b.tolist()))


def partial_numbers(modes: np.ndarray, tuning: Tuning, pitch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the real number h of the partial that would have each mode's frequency, and whether it is one nearly."""
    f0, b = tuning.f0[pitch - tuning.low], max(tuning.inharmonicity[pitch - tuning.low], 1e-9)
    squares = (np.sqrt(1 + 4 * b * (np.asarray(modes) / f0) ** 2) - 1) / (2 * b)
    h = np.sqrt(squares)
    return h, (np.abs(h - np.round(h)) < NEAR_PARTIAL) & (h > 1 - NEAR_PARTIAL)


def carried_modes(modes: np.ndarray, tuning: Tuning, lender: int, pitch: int) -> np.ndarray:
    """Return the modes of a key as another key has them: partials keep their number, the others, which are the
    soundboard's, their frequency. Not sorted."""
    h, is_partial = partial_numbers(modes, tuning, lender)
    f0, b = tuning.f0[pitch - tuning.low], tuning.inharmonicity[pitch - tuning.low]
    return np.where(is_partial, np.minimum(h * f0 * np.sqrt(1 + b * h**2), MOST_HZ), modes)


def with_partials(peaks: Sequence[float], partials: np.ndarray) -> np.ndarray:
    """Return up to MODES frequencies (Hz): PEAKS of the `peaks`, then `partials` that are none of them, a carrier of
    the RUMBLE if it has none of these, then the rest of the peaks."""
    first = np.array(peaks[:PEAKS])
    reach = 0.2 * partials[0]
    missing = [f for f in partials.tolist() if not np.any(np.abs(first - f) < reach)]
    lowest, carrier, highest = RUMBLE
    if len(first) and not any(lowest < f < highest for f in (*first, *missing)):
        missing.insert(0, carrier)
    return np.concatenate([first, missing, peaks[PEAKS:]])[:MODES]


def strongest_peaks(sound: np.ndarray) -> list[float]:
    """Return up to MODES frequencies (Hz), the strongest peaks of a single note's spectra in WINDOWS."""
    chosen: list[tuple[float, float]] = []  # Hz, resolution in Hz
    for _, frequency, resolution in sorted(_window_peaks(sound), reverse=True):
        near = [i for i, (f, r) in enumerate(chosen) if abs(frequency - f) <= APART * max(resolution, r)]
        if not near and len(chosen) < MODES:
            chosen.append((frequency, resolution))
        for i in near:  # a longer window knows the frequency better
            f, r = chosen[i]
            if resolution < r and abs(frequency - f) < r:
                chosen[i] = frequency, resolution
                break
    return [frequency for frequency, _ in chosen]


def _window_peaks(sound: np.ndarray) -> Iterable[tuple[float, float, float]]:
    """Yield (level in dB, Hz, resolution in Hz) of the peaks of each window's spectrum."""
    for begin, end in WINDOWS:
        part = sound[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        if len(part) < SHORTEST * SAMPLE_RATE or not part.any():
            continue
        size = 4 * 2 ** int(np.ceil(np.log2(len(part))))
        spectrum = np.fft.rfft(part * scipy.signal.get_window("hann", len(part)), size)
        level, step = 20 * np.log10(np.abs(spectrum) * 4 / len(part) + 1e-12), SAMPLE_RATE / size
        top = scipy.signal.find_peaks(level, height=level.max() - RANGE_DB)[0]
        a, m, c = level[top - 1], level[top], level[top + 1]
        at = (top + 0.5 * (a - c) / (a - 2 * m + c)) * step
        inside = (at > LEAST_HZ) & (at < MOST_HZ)
        resolution = SAMPLE_RATE / len(part)
        yield from ((float(x), float(f), resolution) for x, f in zip(m[inside], at[inside], strict=True))
