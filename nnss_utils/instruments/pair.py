"""Training pairs: a MIDI file and the WAV that an instrument made of it (notebook 01_codification)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, check_flag, check_number
from nnss_utils.instruments.alignment import Alignment, measure_alignment
from nnss_utils.instruments.base import OWN_RECORDING, Instrument, on_grid
from nnss_utils.instruments.pitch_check import FEWEST_NOTES, in_tune_db, octaves_off
from nnss_utils.instruments.score_match import FARTHEST, LEAST_CLEARNESS, Match, match_score
from nnss_utils.instruments.wav import BLOCK, read_wav, resampled, stored, write_wav
from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.paths import relative, release_pages
from nnss_utils.provenance import data_digests

SAME_OFFSET = 0.005  # s; offsets of two recordings that differ by less count as equal
SHORTER = 0.05  # s by which a recording may end before its last note
WRONG_RATES = (48 / 44.1, 44.1 / 48, 0.5, 2.0)  # of what the file says, that are tried
CLEARLY_TUNED_DB = 6.0  # by which a wrong rate's pitches stand out more
PROBE_SECONDS = 120.0  # of a recording at a wrong rate


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


def load_pair(midi: str | Path, wav: str | Path, late: int | None = None, trusted: bool = False) -> Pair:
    """Return the user's own pair, checked, its offset reported and corrected. late: samples by which the WAV is late,
    in place of the measured offset; trusted: take the pair even if it seems to be of another piece. Raises `InputError`
    if it can't be used. Jitter limits the bandwidth to learn: a partial at f shrinks by exp(-(2 pi f jitter)^2 / 2)."""
    if not (midi and wav):
        raise InputError(f"midi={str(midi)!r}, wav={str(wav)!r}: your pair needs both, the MIDI file and its WAV")
    notes, audio, offset, report = _aligned(read_midi(midi), wav, late, trusted)
    last = max(note.end for note in notes)
    if len(audio) < (last - SHORTER) * SAMPLE_RATE:
        lengths = f"{wav} lasts {len(audio) / SAMPLE_RATE:.2f} s, its MIDI file {midi} {last:.2f} s"
        raise InputError(f"{lengths}; export the whole piece, or give the MIDI file that belongs to it")
    name = Path(wav).name
    origin = f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.0f} s, of {Path(midi).name} and {name}"
    description = f"{origin}, {report}, moved by {-offset} samples"
    return Pair(tuple(notes), audio, f"{OWN_RECORDING} {name}", description, offset)


def read_target(
    wav: str | Path, notes: Sequence[Note], offset: int, late: int | None = None, trusted: bool = False
) -> tuple[list[Note], np.ndarray]:
    """Return `notes` at the pace of a recording of them, and the recording as a target, float32 (samples,), moved by
    `offset` samples as the training pair was: this recording's own offset counts only beyond SAME_OFFSET, since
    measured ones differ by tenths of a ms, which spoils phases. late, trusted: as in `load_pair`."""
    return _aligned(list(notes), wav, late, trusted, like=offset)[:2]


def moved(audio: np.ndarray, samples: int) -> np.ndarray:
    """Return `audio` (samples,) later by `samples` samples, earlier where negative."""
    late = max(0, samples)
    return stored((np.zeros(late, np.float32), audio), len(audio) + late) if late else audio[-samples:]


def _aligned(
    notes: list[Note], wav: str | Path, late: int | None, trusted: bool, like: int | None = None
) -> tuple[list[Note], np.ndarray, int, str]:
    """Return notes at the recording's pace, the recording moved to them, by how many samples, and what was measured."""
    if late is not None:
        check_number("late", late, -FARTHEST * SAMPLE_RATE, FARTHEST * SAMPLE_RATE, integer=True)
    check_flag("trusted", trusted)
    audio, match, ratio = _right_rate(read_wav(wav), notes, trusted)
    name = Path(wav).name
    if ratio != 1:
        print(
            f"{name}: pitch and pace are those of {SAMPLE_RATE * ratio:g} Hz in a file that says otherwise: resampled"
        )
    _check_piece(audio, notes, match, wav, trusted)
    alignment = measure_alignment(audio, notes, match)
    release_pages(audio)
    report, offset = _report(alignment), alignment.samples if late is None else late
    print(f"{name}: {report}")
    if alignment.pace != 1:
        notes = [replace(note, start=note.start * alignment.pace, end=note.end * alignment.pace) for note in notes]
        print(f"{name}: the notes' times are stretched by {alignment.pace:.6f} to fit the recording")
    if like is not None and late is None and (alignment.doubt or abs(offset - like) < SAME_OFFSET * SAMPLE_RATE):
        offset = like
    if offset:
        print(f"{name}: moved by {-offset} samples ({-1000 * offset / SAMPLE_RATE:.1f} ms)")
    return notes, moved(audio, -offset), offset, report


def _right_rate(audio: np.ndarray, notes: Sequence[Note], trusted: bool) -> tuple[np.ndarray, Match, float]:
    """Return a recording at the rate at which it fits the notes, how it fits, and its own rate over 44.1 kHz: a file
    can say another rate than its samples have, unless it is trusted."""
    match = match_score(audio, notes)
    ratio = 1.0 if trusted or (match.fits and match.telling and not match.semitones) else _rate(audio, notes, match)
    if ratio == 1:
        return audio, match, ratio
    blocks = (audio[at : at + BLOCK] for at in range(0, len(audio), BLOCK))
    audio = resampled(blocks, SAMPLE_RATE * ratio, len(audio))
    return audio, match_score(audio, notes), ratio


def _rate(audio: np.ndarray, notes: Sequence[Note], match: Match) -> float:
    """Return the ratio of WRONG_RATES at which a recording fits clearly, or 1. Where notes repeat too much to tell, the
    tuning does."""
    beginning = audio[: round(PROBE_SECONDS * SAMPLE_RATE)]
    if not match.telling:
        tuned = {ratio: in_tune_db(beginning, notes, ratio) for ratio in (1.0, *WRONG_RATES[:2])}
        best = max(tuned, key=tuned.get)
        return best if tuned[best] > tuned[1.0] + CLEARLY_TUNED_DB else 1.0
    for ratio in WRONG_RATES:
        probe = soxr.resample(beginning, SAMPLE_RATE * ratio, SAMPLE_RATE, "LQ")
        other = match_score(probe, notes)
        clear = other.fits and other.clearness >= LEAST_CLEARNESS and not other.semitones
        if clear and not octaves_off(probe, notes, other):
            return ratio
    return 1.0


def _check_piece(audio: np.ndarray, notes: Sequence[Note], match: Match, wav: str | Path, trusted: bool) -> None:
    """Raise `InputError` for the recording of another piece, unless trusted; print that it seems so, or transposed."""
    if len(notes) < FEWEST_NOTES:
        return
    semitones = match.semitones or (octaves_off(audio, notes, match) if match.fits else 0)
    interval = f"{abs(semitones)} semitones {'higher' if semitones > 0 else 'lower'}"
    sounding = f"its notes sound {interval} than its MIDI file's"
    if match.fits and not match.semitones:
        if semitones:
            design = "unless the instrument sounds so by design, as a 16-foot stop or a bell"
            print(f"{relative(wav)}: {sounding}: transpose the MIDI file, or many partials can't be learnt ({design})")
        return
    if not match.telling:
        print(f"{relative(wav)}: its notes repeat too much to tell whether this is their recording: taken as it is")
        return
    if match.fits:
        reason = f"{sounding}; transpose one of them"
    else:
        reason = (
            f"the pitches that begin to sound don't fit its notes (clearness {match.clearness:.1f}, recordings of "
            f"their notes: {LEAST_CLEARNESS:g} and more; {match.share:.0%} of its clear stretches fit at one pace); "
            f"give the recording of this piece, which starts within {FARTHEST:g} s of it"
        )
    if not trusted:
        raise InputError(f"{wav} is no recording of its MIDI file: {reason}, or set trusted=True")
    print(f"{relative(wav)}: trusted, although it seems to be no recording of its MIDI file")


def _report(alignment: Alignment) -> str:
    """Return what was measured in one line."""
    pace = f"{abs(alignment.pace - 1):.4%} {'slow' if alignment.pace > 1 else 'fast'}"
    drift = f"; it runs {pace} (record with the clock that plays)" if alignment.pace != 1 else ""
    if alignment.doubt:
        late = f"{alignment.offset_ms:+.0f} ms ({round(alignment.offset_ms / 1000 * SAMPLE_RATE):,} samples)"
        about = f"its onsets lie about {late} behind the MIDI file's, but this is not sure"
        return f"{about}: {alignment.doubt}; nothing is moved (late=SAMPLES moves it){drift}"
    error = f"+-{alignment.error_ms:.2f}" if alignment.error_ms >= 0.005 else "+-0.00"
    jitter = "unknown" if np.isnan(alignment.jitter_ms) else f"{alignment.jitter_ms:.2f} ms"
    measured = f"onsets {alignment.offset_ms:+.2f} ms {error} behind the MIDI file's, jitter {jitter}"
    attack = "; that is an attack's rise: nothing is moved" if not alignment.samples else ""
    return f"{measured} ({alignment.onsets} onsets){drift}{attack}"
