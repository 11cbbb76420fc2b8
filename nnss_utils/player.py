"""One voice at a time from a mask network: what a piece, a keyboard or a single note is played with (11_speed).

Only what is heard is computed: a voice that was made before is taken from memory, and a voice ends where its key's
damper has silenced it.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np

from nnss_utils.codification import ToneTable
from nnss_utils.inference import Tiling, predict_spectra, resynthesize
from nnss_utils.instrument import velocity_gain
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.modelfile import TrainedModel
from nnss_utils.spectral import SAMPLE_RATE, frame_count, lead
from nnss_utils.voices import Voices, voice_inputs

FLOOR = 3e-6  # -110 dB: a released voice ends where its key's probe stays below
PROBE = Note(0.0, 0.25, 0)  # a short note, loud when it ends: how long its key sounds after it
MOST_FRAMES = 512  # of one voice that are resynthesized at a time
TONES = 2**23  # samples of tones that are remembered, 34 MB
REMEMBERED = 64_000_000  # bytes of voices that are remembered
AHEAD = 2 * SAMPLE_RATE  # samples of tone that are made for a key that is held; then twice as many, and so on

Key = tuple[int, int, int]  # pitch, velocity, samples held: notes alike in these sound alike


def key_of(note: Note) -> Key:
    """Return what decides how a note sounds."""
    return note.pitch, note.velocity, samples_of(note)[1]


class VoicePlayer:
    """Plays notes by a mask network and remembers the voices it made."""

    def __init__(self, model: TrainedModel) -> None:
        """Make a player of `model`; nothing is computed yet."""
        self.model, self.tiling = model, Tiling.of(model)
        self.tones = ToneTable(model.tuning, (), model.settings.codification, most=TONES)
        self.tails: dict[int, int] = {}  # samples that a key sounds after its note
        self.made: OrderedDict[Key, np.ndarray] = OrderedDict()

    def warm_up(self) -> None:
        """Compile the network and find how long every key's tail is, so that the first note is as quick as the next."""
        self._find_tails(set(range(self.model.low, self.model.high + 1)) - set(self.tails))
        self.play(Note(0.0, 1.0, self.model.low))

    def play(self, note: Note) -> np.ndarray:
        """Return one note's sound from its start on, float32 (samples,); raises `InputError` if out of range."""
        return next(self.voices([note]))[1]

    def sustain(self, pitch: int, velocity: int = 100) -> Iterator[np.ndarray]:
        """Yield the sound of a key that is held, float32 (samples,) pieces from its note-on on, without end.

        Each piece costs one small batch, whatever came before. Raises `InputError` if the pitch is out of range.
        """
        check_range([Note(0.0, 1.0, pitch)], self.model.low, self.model.high, f"the model {self.model.name}")
        spectral, tiling = self.model.settings.spectral, self.tiling
        o, step, tiles = spectral.oversampling, spectral.frame_step, tiling.rows[-1]
        size = tiles * tiling.core * step // o
        pending = np.zeros(size + spectral.frame_length // o + lead(spectral) // o, np.float32)
        at = -lead(spectral) // o  # where the next piece's first frame begins
        for number in count():
            key = pitch, velocity, -number - 1  # no note is held for less than one sample
            piece = self.made.get(key)
            if piece is None:
                end = at + size + spectral.frame_length  # no frame of this piece reaches it
                length = AHEAD * 2 ** max(0, math.ceil(math.log2(end / AHEAD)))
                self.tones.add([(pitch, length)])
                offsets = at + size // tiles * np.arange(tiles) - tiling.context * step // o
                voices = Voices(*np.repeat([[pitch], [velocity], [length]], tiles, axis=1))
                spectra = np.concatenate(self._predict(voices, offsets))
                piece = resynthesize(spectra, spectral) * np.float32(velocity_gain(velocity))
                if number == 0:  # what every stroke of this key begins with
                    self._remember(key, piece)
            pending[: len(piece)] += piece
            yield pending[max(0, -at) : size].copy()
            at += size
            pending[:-size] = pending[size:].copy()
            pending[-size:] = 0

    def tail(self, pitch: int, velocity: int, held: int, begin: int) -> np.ndarray:
        """Return the sound of a key held for `held` samples from its sample `begin` on, float32 (samples,)."""
        self._find_tails({pitch} - set(self.tails))
        _, sound = next(self._make([(pitch, velocity, held)], self.tails, begin))
        return sound[begin:] * np.float32(velocity_gain(velocity))

    def voices(self, notes: Iterable[Note]) -> Iterator[tuple[Key, np.ndarray]]:
        """Yield each distinct note's key and sound, float32 (samples,) from its start on, one after the other."""
        notes = list(notes)
        check_range(notes, self.model.low, self.model.high, f"the model {self.model.name}")
        keys = dict.fromkeys(map(key_of, notes))
        for key in [key for key in keys if key in self.made]:
            self.made.move_to_end(key)
            keys.pop(key)
            yield key, self.made[key]
        self.tones.add((pitch, held) for pitch, _, held in keys)  # the longest first: tails need less
        self._find_tails({pitch for pitch, _, _ in keys} - set(self.tails))
        for key, sound in self._make(list(keys), {}):
            sound *= np.float32(velocity_gain(key[1]))
            self._remember(key, sound)
            yield key, sound

    def _remember(self, key: Key, sound: np.ndarray) -> None:
        """Keep a voice, and forget those that were not used for longest where memory is short."""
        self.made[key] = sound
        held = sum(voice.nbytes for voice in self.made.values())
        while held > REMEMBERED:
            held -= self.made.popitem(last=False)[1].nbytes

    def _find_tails(self, pitches: set[int]) -> None:
        """Find how long keys sound after their note: the same whatever piece asks first."""
        release = len(self.tones.fade)
        held = samples_of(PROBE)[1]
        probes = [(pitch, 100, held) for pitch in sorted(pitches)]
        for (pitch, _, _), sound in self._make(probes, dict.fromkeys(pitches, release), held):
            heard = np.flatnonzero(np.abs(sound[held:]) > FLOOR)
            self.tails[pitch] = min(release, int(heard[-1]) + 1 if len(heard) else 1)

    def _predict(self, voices: Voices, offsets: np.ndarray) -> np.ndarray:
        """Return the spectra (voices, core, bins) of one tile of each voice, `offsets` samples after its note-on."""
        settings, frames = self.model.settings, self.tiling.frames
        inputs = voice_inputs(voices, offsets, self.tones, settings, frames, self.model.longest)
        inputs.pop("gain")
        return predict_spectra(self.model, inputs)

    def _make(self, keys: list[Key], tails: dict[int, int], begin: int = 0) -> Iterator[tuple[Key, np.ndarray]]:
        """Yield the sound of each key's voice before its gain; what lies before sample `begin` may be left out."""
        spectral, tiling = self.model.settings.spectral, self.tiling
        core = tiling.core
        o, step = spectral.oversampling, spectral.frame_step
        before = lead(spectral)
        voices = Voices(*np.array(keys, np.int64).reshape(-1, 3).T)
        tails = tails or self.tails
        lengths = [held + tails[pitch] for pitch, _, held in keys]
        self.tones.add((pitch, held) for pitch, _, held in keys)
        first = max(0, (begin * o + before - spectral.frame_length) // step) // core * core
        counts = [frame_count(length * o, spectral) for length in lengths]
        tiles = [(v, at) for v, count in enumerate(counts) for at in range(first, count, core)]
        sound, waiting = np.zeros(0, np.float32), []
        for batch in tiling.batches(tiles):
            rows, at = np.array(batch).T
            offsets = ((at - tiling.context) * step - before) // o
            for (v, at), spectra in zip(batch, self._predict(voices[rows], offsets), strict=True):
                if at == first:
                    sound = np.zeros(lengths[v], np.float32)
                waiting.append(spectra[: counts[v] - at])
                done = at + core
                if done >= counts[v] or len(waiting) * core >= MOST_FRAMES:
                    start = done - len(waiting) * core
                    piece = resynthesize(np.concatenate(waiting), spectral)
                    waiting.clear()
                    # a voice begins with its note and ends with its release, to the sample
                    add_at(sound, (start * step - before) // o, piece)
                if done >= counts[v]:
                    yield keys[v], sound


def add_at(out: np.ndarray, first: int, piece: np.ndarray) -> None:
    """Add `piece` to out[first : first + len(piece)], leaving away what lies outside."""
    begin, end = max(first, 0), min(first + len(piece), len(out))
    if begin < end:
        out[begin:end] += piece[begin - first : end - first]
