"""Any SoundFont as an instrument, by fluidsynth (optional extra `soundfont`; notebook 01_codification). fluidsynth
starts and ends notes only between blocks of 64 samples, up to 1.45 ms late: notes first move to that grid."""

import ctypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, UnavailableError, progress_bar
from nnss_utils.instruments.base import on_grid, sum_voices
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.paths import existing_file

BLOCK = 64  # samples
LONGEST_TAIL = 10.0  # s after the last note's end
SILENCE = 1e-6


class SoundFont:
    """A SoundFont's piano (bank 0, program 0): left channel, dry, deterministic."""

    low, high = 0, 127
    grid = BLOCK

    def __init__(self, path: str | Path) -> None:
        """Check the file and the fluidsynth library; raises `InputError` where either is missing."""
        self.path = existing_file(path, "SoundFont", UnavailableError)
        try:
            import fluidsynth
        except ImportError as error:
            cure = "install Debian's libfluidsynth3 and the extra 'soundfont'"
            raise UnavailableError(f"a SoundFont needs fluidsynth ({error}); {cure}") from None
        self.fluidsynth, self.name = fluidsynth, str(path)
        self.voices: dict[tuple[int, int, int], np.ndarray] = {}
        self.holder = self._open()  # as long as one synthesizer is open, others share its samples

    def _open(self, polyphony: int = 16):
        settings = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.polyphony": polyphony}
        synth = self.fluidsynth.Synth(gain=0.5, samplerate=float(SAMPLE_RATE), **settings)
        synth.setting("synth.min-note-length", 0)
        font = synth.sfload(str(self.path))
        if font < 0:
            synth.delete()
            raise InputError(f"{self.path} can't be read as a SoundFont; give an .sf2 or .sf3 file")
        synth.program_select(0, font, 0, 0)
        return synth

    def render(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes, float32 (samples,), their starts and ends moved to the grid."""
        notes = on_grid(notes, self.grid)
        check_range(notes, self.low, self.high, f"the instrument {self.name}")
        bar = progress_bar(notes, desc="playing the SoundFont", unit="note", disable=len(notes) < 100)
        voices = [(samples_of(n)[0], self._voice(n.pitch, n.velocity, samples_of(n)[1])) for n in bar]
        return sum_voices(voices, max((start + len(sound) for start, sound in voices), default=0))

    def perform(self, notes: Iterable[Note]) -> np.ndarray:
        """Return the sound of the notes as fluidsynth plays a MIDI file, in one synthesizer, float32 (samples,)."""
        events = [(samples_of(n)[0], 1, n.pitch, n.velocity) for n in notes]
        events += [(sum(samples_of(n)), 0, n.pitch, 0) for n in notes]
        return self._played(sorted(events), [SAMPLE_RATE // BLOCK], polyphony=256)

    def _voice(self, pitch: int, velocity: int, held: int) -> np.ndarray:
        # by a new synthesizer: a voice that plays again keeps its filter's state, and the note differs by -40 dB
        key = (pitch, velocity, held)
        if key not in self.voices:
            events = [(0, 1, pitch, velocity), (held, 0, pitch, 0)]
            self.voices[key] = self._played(events, [SAMPLE_RATE // 10 // BLOCK] * int(LONGEST_TAIL * 10))
        return self.voices[key]

    def _played(self, events: Iterable[tuple], tail: Iterable[int], polyphony: int = 16) -> np.ndarray:
        """Return the sound of events (sample, on, pitch, velocity), then blocks of the tail until it is silent."""
        synth, sounds, done = self._open(polyphony), [], 0
        try:
            for at, on, pitch, velocity in events:
                due = -(-at // BLOCK)
                sounds.append(self._write(synth, due - done))
                done = due
                synth.noteon(0, pitch, velocity) if on else synth.noteoff(0, pitch)
            for blocks in tail:
                sounds.append(self._write(synth, blocks))
                if np.abs(sounds[-1]).max() < SILENCE:
                    break
        finally:
            synth.delete()
        return np.concatenate(sounds)

    def _write(self, synth, blocks: int) -> np.ndarray:
        """Return the left channel of the next `blocks` blocks, float32 (pyfluidsynth only has 16 bits)."""
        left, right = np.zeros((2, blocks * BLOCK), np.float32)
        pointers = [c.ctypes.data_as(ctypes.c_void_p) for c in (left, right)]
        write = self.fluidsynth._fl.fluid_synth_write_float
        write(ctypes.c_void_p(synth.synth), ctypes.c_int(blocks * BLOCK), pointers[0], 0, 1, pointers[1], 0, 1)
        return left
