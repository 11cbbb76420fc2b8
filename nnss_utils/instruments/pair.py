"""Training pairs: a MIDI file and the WAV that an instrument made of it (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError
from nnss_utils.instruments.alignment import FARTHEST, Alignment, coarse_offset, measure_alignment, offset_samples
from nnss_utils.instruments.base import OWN_RECORDING, Instrument, on_grid
from nnss_utils.instruments.pitch_check import check_pitches
from nnss_utils.instruments.wav import read_wav, stored, write_wav
from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.paths import relative, release_pages
from nnss_utils.provenance import data_digests

LEAST_AGREEMENT = 0.85  # of pitches: recordings of their notes reach 0.9 and more, other pieces 0.5 to 0.75
SAME_OFFSET = 0.005  # s between the offsets of two recordings that count as the same


@dataclass(frozen=True)
class Pair:
    """Notes and their sound, float32 (samples,) at 44.1 kHz, with the instrument and a description.

    offset: by how many samples the recording was late before it was moved.
    """

    notes: tuple[Note, ...]
    audio: np.ndarray
    instrument: str
    description: str
    offset: int = 0

    @property
    def pitches(self) -> tuple[int, int]:
        """Its lowest and highest pitch."""
        return min(note.pitch for note in self.notes), max(note.pitch for note in self.notes)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of its notes and of its audio, as provenance.data_digests makes them."""
        return data_digests(self.notes, self.audio)


def make_pair(notes: Sequence[Note], instrument: Instrument) -> Pair:
    """Return the pair of notes and the instrument's sound of them, sample-exact."""
    notes = on_grid(notes, instrument.grid)
    audio = instrument.render(notes)
    description = f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, by {instrument.name}"
    return Pair(tuple(notes), audio, instrument.name, description)


def write_pair(pair: Pair, folder: Path, name: str = "pair") -> tuple[Path, Path]:
    """Write a pair as NAME.mid and NAME.wav (16 bits) into a folder, and return both paths."""
    midi = write_midi(folder / f"{name}.mid", pair.notes)
    return midi, write_wav(folder / f"{name}.wav", pair.audio).path


def load_pair(midi: str | Path, wav: str | Path) -> Pair:
    """Return the user's own pair, checked and aligned.

    An offset between both is reported and corrected. The jitter that remains limits the bandwidth that can be learnt:
    a partial at f shrinks by exp(-(2 pi f jitter)^2 / 2). Raises `InputError` for a WAV of another rate, shorter than
    its MIDI file, silent, or of another piece.
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
    alignment = _checked_alignment(audio, notes, wav)
    release_pages(audio)
    report = _report(alignment)
    print(f"{Path(wav).name}: {report}")
    offset = offset_samples(alignment)
    if offset:
        audio = moved(audio, -offset)
        print(f"offset corrected: the WAV is moved by {-offset} samples")
    description = (
        f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, of {Path(midi).name} and {Path(wav).name}, "
        f"{report}, moved by {-offset} samples"
    )
    return Pair(tuple(notes), audio, f"{OWN_RECORDING} {Path(wav).name}", description, offset)


def read_target(wav: str | Path, notes: Sequence[Note], offset: int) -> np.ndarray:
    """Return a recording of `notes` to measure by, float32 (samples,), moved like the pair its model learnt from.

    Attacks measure differently from piece to piece by tenths of a ms, enough to spoil every phase. So the training
    pair's own `offset` (samples) counts, unless this recording's differs by more than SAME_OFFSET.
    """
    audio = read_wav(wav)
    alignment = _checked_alignment(audio, notes, wav)
    own = offset_samples(alignment)
    offset = offset if alignment is None or abs(own - offset) < SAME_OFFSET * SAMPLE_RATE else own
    if offset:
        print(f"{Path(wav).name}: moved by {-offset} samples")
    return moved(audio, -offset)


def moved(audio: np.ndarray, samples: int) -> np.ndarray:
    """Return `audio` (samples,) later by `samples` samples, earlier where negative."""
    if samples <= 0:
        return audio[-samples:]
    return stored((np.zeros(samples, np.float32), audio), len(audio) + samples)


def _checked_alignment(audio: np.ndarray, notes: Sequence[Note], wav: str | Path) -> Alignment | None:
    """Return the alignment of a recording; warn where it seems transposed, raise `InputError` for another piece."""
    coarse = coarse_offset(audio, notes)
    pitches = check_pitches(audio, notes, coarse)
    if pitches is not None:
        interval = f"{abs(pitches.semitones)} semitones {'higher' if pitches.semitones > 0 else 'lower'}"
        if pitches.agreement < LEAST_AGREEMENT:
            transposed = f", its notes sound {interval} than its MIDI file's" if pitches.semitones % 12 else ""
            raise InputError(
                f"{wav} is no recording of its MIDI file: at its onsets the notes' own pitches rise more than the "
                f"others in {pitches.agreement:.0%} of comparisons (recordings: over 90%, chance: 50%){transposed}; "
                f"give the one of this piece, begun within {FARTHEST:g} s of it and tuned near A = 440 Hz"
            )
        if pitches.semitones:
            print(
                f"{relative(wav)}: its notes sound {interval} than its MIDI file's: transpose the MIDI file, or many "
                "partials can't be learnt (unless the instrument sounds so by design, as a 16-foot stop or a bell)"
            )
    return measure_alignment(audio, notes, coarse)


def _report(alignment: Alignment | None) -> str:
    """Return one line about an alignment."""
    if alignment is None:
        return "no onset of the MIDI file can be read in it (is it of this piece?), offset and jitter unknown"
    pace = f"{abs(alignment.drift) / 10:.3f} % {'slow' if alignment.drift > 0 else 'fast'}"
    drift = f", most of it drift: it runs {pace} (record with the clock that plays, or resample it)"
    return (
        f"onsets {alignment.offset_ms:+.2f} ms behind the MIDI file's, jitter {alignment.jitter_ms:.2f} ms "
        f"({alignment.onsets} onsets){drift if alignment.drift else ''}"
    )
