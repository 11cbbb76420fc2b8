"""Training pairs: a MIDI file and the WAV that an instrument made of it (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nnss_utils.errors import InputError
from nnss_utils.instrument import Instrument, on_grid
from nnss_utils.likeness import hear
from nnss_utils.midi import Note, read_midi
from nnss_utils.paths import shown
from nnss_utils.provenance import data_digests
from nnss_utils.spectral import SAMPLE_RATE
from nnss_utils.timing import FARTHEST, Timing, coarse_offset, lateness, measure_timing
from nnss_utils.wav import read_wav, stored, unload

LEAST_LIKENESS = 0.85  # of pitches: recordings of their notes have 0.9 and more, of other pieces 0.5 to 0.75


@dataclass(frozen=True)
class Pair:
    """Notes and their sound, float32 (samples,) at 44.1 kHz, with who played it and how it came about.

    `late` is by how many samples the recording was late before it was moved.
    """

    notes: tuple[Note, ...]
    audio: np.ndarray
    instrument: str
    description: str
    late: int = 0

    @property
    def pitches(self) -> tuple[int, int]:
        """Its lowest and highest pitch."""
        return min(note.pitch for note in self.notes), max(note.pitch for note in self.notes)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of its notes and of its audio, as provenance.data_digests makes them."""
        return data_digests(self.notes, self.audio)


def make_pair(notes: Sequence[Note], instrument: Instrument) -> Pair:
    """Return the pair of notes and what the instrument plays of them, sample-exact."""
    notes = on_grid(notes, instrument.grid)
    audio = instrument.render(notes)
    description = f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, by {instrument.name}"
    return Pair(tuple(notes), audio, instrument.name, description)


def load_pair(midi: str | Path, wav: str | Path) -> Pair:
    """Return the user's own pair, checked and brought together in time.

    Raises `InputError` for a WAV of another rate, shorter than its MIDI, silent, or of another piece. Of several
    channels the left is taken. The offset between both is told and corrected; the jitter that remains bounds the
    bandwidth that can be learnt: a partial at f shrinks by exp(-(2 pi f jitter)^2 / 2).
    """
    if not (midi and wav):
        raise InputError(
            f"midi={str(midi)!r}, wav={str(wav)!r}: a pair of your own needs both, the MIDI file and its WAV"
        )
    notes = read_midi(midi)
    audio = read_wav(wav)
    last = max(note.end for note in notes)
    if len(audio) < last * SAMPLE_RATE - 1:
        raise InputError(
            f"{wav} lasts {len(audio) / SAMPLE_RATE:.2f} s, its MIDI file {midi} {last:.2f} s; "
            "export the whole piece, or give the MIDI file that belongs to it"
        )
    timing = measure_timing(audio, notes, check_likeness(audio, notes, wav))
    unload(audio)
    said = _told(timing)
    print(f"{Path(wav).name}: {said}")
    late = lateness(timing)
    if late:
        audio = moved(audio, -late)
        print(f"offset corrected: the WAV moved by {-late} samples")
    description = (
        f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, of {Path(midi).name} and {Path(wav).name}, "
        f"{said}, moved by {-late} samples"
    )
    return Pair(tuple(notes), audio, f"own recording {Path(wav).name}", description, late)


def check_likeness(audio: np.ndarray, notes: Sequence[Note], wav: str | Path) -> float:
    """Return by about how many seconds `audio` (samples,) trails `notes`; say so where it seems transposed.

    Raises `InputError` unless the pitches of the notes begin in it where the notes do.
    """
    offset = coarse_offset(audio, notes)
    heard = hear(audio, notes, offset)
    if heard is None:
        return offset
    away = f"{abs(heard.semitones)} semitones {'higher' if heard.semitones > 0 else 'lower'} than its MIDI file's"
    if heard.likeness < LEAST_LIKENESS:
        raise InputError(
            f"{wav} is no recording of its MIDI file: at its onsets the notes' own pitches rise over "
            f"{heard.likeness:.0%} of the others (of a recording over 90%, by chance 50%)"
            + (f", its notes sound {away}" if heard.semitones % 12 else "")
            + f"; give the one of this piece, begun within {FARTHEST:g} s of it and tuned near A = 440 Hz"
        )
    if heard.semitones:
        print(
            f"{shown(wav)}: its notes sound {away}: unless its instrument is made so (a 16-foot stop, a bell), "
            "transpose the MIDI file, or many partials can't be learnt"
        )
    return offset


def _told(timing: Timing | None) -> str:
    if timing is None:
        return "no onset of the MIDI file can be read in it (is it of this piece?), offset and jitter unknown"
    pace = f"{abs(timing.drift) / 10:.3f} % {'slow' if timing.drift > 0 else 'fast'}"
    drift = f", most of it drift: it runs {pace} (record with the clock that plays, or resample it)"
    return (
        f"onsets {timing.offset_ms:+.2f} ms behind the MIDI file's, jitter {timing.jitter_ms:.2f} ms "
        f"({timing.onsets} onsets){drift if timing.drift else ''}"
    )


def moved(audio: np.ndarray, samples: int) -> np.ndarray:
    """Return `audio` (samples,) so many samples later, earlier where negative."""
    if samples <= 0:
        return audio[-samples:]
    return stored((np.zeros(samples, np.float32), audio), len(audio) + samples)


def read_target(wav: str | Path, notes: Sequence[Note], late: int) -> np.ndarray:
    """Return a recording of `notes` to measure by, moved like the pair that its model learnt from.

    Measured attacks differ from piece to piece by tenths of a ms, enough to spoil every phase: so the training
    pair's own lateness (samples) counts, unless this recording's is another one by more than 5 ms.
    """
    audio = read_wav(wav)
    timing = measure_timing(audio, notes, check_likeness(audio, notes, wav))
    own = lateness(timing)
    late = late if timing is None or abs(own - late) < 0.005 * SAMPLE_RATE else own
    if late:
        print(f"{Path(wav).name}: moved by {-late} samples")
    return moved(audio, -late)
