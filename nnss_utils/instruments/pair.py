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
from nnss_utils.instruments.pitch_check import LEAST_AGREEMENT, check_pitches
from nnss_utils.instruments.wav import read_wav, stored, write_wav
from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.paths import relative, release_pages
from nnss_utils.provenance import data_digests

SAME_OFFSET = 0.005  # s; offsets of two recordings that differ by less count as equal


@dataclass(frozen=True)
class Pair:
    """Notes and their sound, float32 (samples,) at 44.1 kHz; offset: samples by which the recording was late."""

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
    return midi, write_wav(folder / f"{name}.wav", pair.audio)


def load_pair(midi: str | Path, wav: str | Path) -> Pair:
    """Return the user's own pair, checked, its offset reported and corrected; raises `InputError` if it can't be used.
    The jitter that remains limits the bandwidth to learn: a partial at f shrinks by exp(-(2 pi f jitter)^2 / 2)."""
    if not (midi and wav):
        raise InputError(f"midi={str(midi)!r}, wav={str(wav)!r}: your pair needs both, the MIDI file and its WAV")
    notes, audio = read_midi(midi), read_wav(wav)
    last = max(note.end for note in notes)
    if len(audio) < last * SAMPLE_RATE - 1:
        lengths = f"{wav} lasts {len(audio) / SAMPLE_RATE:.2f} s, its MIDI file {midi} {last:.2f} s"
        raise InputError(f"{lengths}; export the whole piece, or give the MIDI file that belongs to it")
    alignment = _checked_alignment(audio, notes, wav)
    release_pages(audio)
    report, offset, name = _report(alignment), offset_samples(alignment), Path(wav).name
    print(f"{name}: {report}")
    if offset:
        audio = moved(audio, -offset)
        print(f"offset corrected: the WAV is moved by {-offset} samples")
    origin = f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, of {Path(midi).name} and {name}"
    description = f"{origin}, {report}, moved by {-offset} samples"
    return Pair(tuple(notes), audio, f"{OWN_RECORDING} {name}", description, offset)


def read_target(wav: str | Path, notes: Sequence[Note], offset: int) -> np.ndarray:
    """Return a recording of `notes` as a target, float32 (samples,), moved by `offset` samples as the training pair is.
    Measured offsets differ by tenths of a ms, which spoils phases: this recording's counts only beyond SAME_OFFSET."""
    audio = read_wav(wav)
    alignment = _checked_alignment(audio, notes, wav)
    own = offset_samples(alignment)
    offset = offset if alignment is None or abs(own - offset) < SAME_OFFSET * SAMPLE_RATE else own
    if offset:
        print(f"{Path(wav).name}: moved by {-offset} samples")
    return moved(audio, -offset)


def moved(audio: np.ndarray, samples: int) -> np.ndarray:
    """Return `audio` (samples,) later by `samples` samples, earlier where negative."""
    late = max(0, samples)
    return stored((np.zeros(late, np.float32), audio), len(audio) + late) if late else audio[-samples:]


def _checked_alignment(audio: np.ndarray, notes: Sequence[Note], wav: str | Path) -> Alignment | None:
    """Return the alignment of a recording; warn where it seems transposed, raise `InputError` for another piece."""
    coarse = coarse_offset(audio, notes)
    pitches = check_pitches(audio, notes, coarse)
    if pitches is not None:
        interval = f"{abs(pitches.semitones)} semitones {'higher' if pitches.semitones > 0 else 'lower'}"
        sounding = f"its notes sound {interval} than its MIDI file's"
        if pitches.agreement < LEAST_AGREEMENT:
            share = f"{pitches.agreement:.0%} of comparisons (recordings: over 90%, chance: 50%)"
            raise InputError(
                f"{wav} is no recording of its MIDI file: at its onsets the notes' own pitches rise more than the "
                f"others in {share}{f', {sounding}' if pitches.semitones % 12 else ''}; give the recording of "
                f"this piece, which starts within {FARTHEST:g} s of it and is tuned near A = 440 Hz"
            )
        if pitches.semitones:
            design = "unless the instrument sounds so by design, as a 16-foot stop or a bell"
            print(f"{relative(wav)}: {sounding}: transpose the MIDI file, or many partials can't be learnt ({design})")
    return measure_alignment(audio, notes, coarse)


def _report(alignment: Alignment | None) -> str:
    if alignment is None:
        return "no onsets of the MIDI file found in the recording (is it this piece?): offset and jitter are unknown"
    pace = f"{abs(alignment.drift) / 10:.3f} % {'slow' if alignment.drift > 0 else 'fast'}"
    drift = f", most of it drift: it runs {pace} (record with the clock that plays, or resample it)"
    measured = f"onsets {alignment.offset_ms:+.2f} ms behind the MIDI file's, jitter {alignment.jitter_ms:.2f} ms"
    return f"{measured} ({alignment.onsets} onsets){drift if alignment.drift else ''}"
