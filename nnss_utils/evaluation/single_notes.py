"""Single notes by a network and by its instrument: SNR at each velocity and at each duration (notebook
12_where_the_error_is). Each note is alone, from its first sample to the end of its release."""

from collections.abc import Sequence

import numpy as np

from nnss_utils.errors import progress_bar
from nnss_utils.evaluation.metrics import energy, ratio_db
from nnss_utils.instruments.load import load_instrument
from nnss_utils.midi import Note
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.synthesis.voice import VoiceRenderer

VELOCITIES = (1, *range(10, 121, 10), 127)
DURATIONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)  # s
EVERY = 5  # semitones between two keys that are measured
REGISTER = 12  # semitones


def single_notes(model: TrainedModel, every: int = EVERY) -> dict[str, dict]:
    """Return "velocities" and "durations": for each value the `register_snr` of notes over the whole range. Notes of
    each velocity are held 0.1, 0.5 and 2 s; notes of each duration have velocities from 20 to 120. every: semitones
    from one measured key to the next."""
    keys, renderer = range(model.low, model.high + 1, every), VoiceRenderer(model)
    soft_to_loud = np.linspace(20, 120, len(keys)).round().astype(int).tolist()
    sets = {
        "velocities": {v: [Note(0.0, d, k, v) for k in keys for d in (0.1, 0.5, 2.0)] for v in VELOCITIES},
        "durations": {d: [Note(0.0, d, k, v) for k, v in zip(keys, soft_to_loud, strict=True)] for d in DURATIONS},
    }
    with progress_bar(total=len(VELOCITIES) + len(DURATIONS), desc="single notes") as bar:
        rows = {name: {} for name in sets}
        for name, of_value in sets.items():
            for value, notes in of_value.items():
                rows[name][f"{value:g}"] = register_snr(notes, renderer)
                bar.update()
    return rows


def register_snr(notes: Sequence[Note], renderer: VoiceRenderer) -> dict:
    """Return "snr_db" of all notes together, "worst_db" of the worst note, and "registers": [lowest pitch, SNR in dB]
    of each octave from the lowest note up. Each note counts with its energy at full velocity."""
    instrument = load_instrument(renderer.model.instrument)
    sums = {note: note_energies(instrument.render([note]), renderer.render(note)) for note in notes}
    lowest = min(note.pitch for note in notes)
    registers: dict[int, np.ndarray] = {}
    for note, of_note in sums.items():
        low = lowest + (note.pitch - lowest) // REGISTER * REGISTER
        registers[low] = registers.get(low, 0) + of_note * (127 / note.velocity) ** 4
    return {
        "snr_db": ratio_db(*sum(registers.values())),
        "worst_db": min(ratio_db(*of_note * (127 / note.velocity) ** 4) for note, of_note in sums.items()),
        "registers": [[low, ratio_db(*of_register)] for low, of_register in sorted(registers.items())],
    }


def note_energies(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the energies of a target and of a prediction's error, float64 (2,)."""
    samples = max(len(target), len(prediction))
    y, p = (np.pad(np.asarray(sound, np.float64), (0, samples - len(sound))) for sound in (target, prediction))
    return np.array([energy(y), energy(y - p)])
