"""Any SoundFont as an instrument, by fluidsynth (optional extra `soundfont`; notebook 01_codification).

fluidsynth starts and ends notes only between blocks of 64 samples, so notes are first moved onto that grid:
otherwise the same note would sound up to 1.45 ms earlier or later each time.
"""

import ctypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, progress_bar
from nnss_utils.instruments.base import on_grid, sum_voices
from nnss_utils.midi import Note, check_range, samples_of

BLOCK = 64  # samples
LONGEST_TAIL = 10.0  # s after the last note's end
SILENCE = 1e-6


class SoundFont:
    """A SoundFont's piano (bank 0, program 0): left channel, dry, deterministic."""

    low, high = 0, 127
    grid = BLOCK

    def __init__(self, path: str | Path) -> None:
        """Check the file and the fluidsynth library; raises `InputError` where either is missing."""
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"SoundFont {path} does not exist; give the path of an .sf2 or .sf3 file")
        try:
            import fluidsynth
        except ImportError as error:
            raise InputError(
                f"a SoundFont needs fluidsynth ({error}); install Debian's libfluidsynth3 and the extra 'soundfont'"
            ) from None
        self.fluidsynth = fluidsynth
        self.name = str(path)
        self.voices: dict[tuple[int, int, int], np.ndarray] = {}
        self.holder = self._open()  # as long as one synthesizer is open, others share its samples

    def _open(self, polyphony: int = 16):
        """Return a new synthesizer with the font loaded: no reverb, no chorus."""
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
        """Return the sound of the notes as fluidsynth plays a MIDI file, float32 (samples,).

        One synthesizer plays all notes, and every event waits for the next block.
        """
        events = [(samples_of(n)[0], 1, n.pitch, n.velocity) for n in notes]
        events += [(sum(samples_of(n)), 0, n.pitch, 0) for n in notes]
        synth, blocks, done = self._open(polyphony=256), [], 0
        try:
            for at, on, pitch, velocity in sorted(events):
                due = -(-at // BLOCK)
                blocks.append(self._write(synth, due - done))
                done = due
                synth.noteon(0, pitch, velocity) if on else synth.noteoff(0, pitch)
            blocks.append(self._write(synth, SAMPLE_RATE // BLOCK))
        finally:
            synth.delete()
        return np.concatenate(blocks)

    def _voice(self, pitch: int, velocity: int, held: int) -> np.ndarray:
        """Return one note's sound, float32 (samples,), by a synthesizer of its own.

        A fluidsynth voice that is used again keeps the state of its filter: the same note would differ by -40 dB.
        """
        key = (pitch, velocity, held)
        if key not in self.voices:
            synth = self._open()
            try:
                synth.noteon(0, pitch, velocity)
                blocks = [self._write(synth, held // BLOCK)]
                synth.noteoff(0, pitch)
                for _ in range(int(LONGEST_TAIL * 10)):
                    blocks.append(self._write(synth, SAMPLE_RATE // 10 // BLOCK))
                    if np.abs(blocks[-1]).max() < SILENCE:
                        break
            finally:
                synth.delete()
            self.voices[key] = np.concatenate(blocks)
        return self.voices[key]

    def _write(self, synth, blocks: int) -> np.ndarray:
        """Return the left channel of the next `blocks` blocks, float32 (pyfluidsynth itself only has 16 bits)."""
        left, right = np.zeros((2, blocks * BLOCK), np.float32)
        pointers = [c.ctypes.data_as(ctypes.c_void_p) for c in (left, right)]
        write = self.fluidsynth._fl.fluid_synth_write_float
        write(ctypes.c_void_p(synth.synth), ctypes.c_int(blocks * BLOCK), pointers[0], 0, 1, pointers[1], 0, 1)
        return left
