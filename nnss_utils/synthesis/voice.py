"""Renders voices by a mask network, for a piece, a keyboard or a single note (notebook 11_speed). Only audible sound is
computed: voices are cached, and a voice ends where its key's damper has silenced it."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import frame_count, padding
from nnss_utils.instruments.base import velocity_gain
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.model.codification import ToneTable
from nnss_utils.model.inputs import Voices, voice_inputs
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.synthesis.inference import OverlapBuffer, Tiling, predict_spectra, resynthesize

FLOOR = 3e-6  # -110 dB: a released voice ends where its key's probe stays below
PROBE = Note(0.0, 0.25, 0)  # a short note: its tail shows how long its key sounds after release
MOST_FRAMES = 512  # frames of one voice that are resynthesized at a time
TONES = 2**23  # samples of tones in memory, 34 MB
CACHE_BYTES = 64_000_000  # of rendered voices in memory
AHEAD = 2 * SAMPLE_RATE  # samples of tone made at first for a held key; each further time twice as many

Key = tuple[int, int, int]  # pitch, velocity, samples held: notes with the same key sound the same


def key_of(note: Note) -> Key:
    """Return what decides how a note sounds."""
    return note.pitch, note.velocity, samples_of(note)[1]


class VoiceRenderer:
    """Renders notes by a mask network and keeps the voices it made."""

    def __init__(self, model: TrainedModel) -> None:
        """Make a renderer of `model`; nothing is computed yet."""
        self.model, self.tiling = model, Tiling.of(model)
        self.tones = ToneTable(model.tuning, (), model.settings.codification, most=TONES)
        self.tails: dict[int, int] = {}  # samples that a key sounds after its note
        self.cached: OrderedDict[Key, np.ndarray] = OrderedDict()

    def warm_up(self) -> None:
        """Compile the network and find every key's tail, so that the first note is as quick as the next."""
        self._find_tails(set(range(self.model.low, self.model.high + 1)) - set(self.tails))
        self.render(Note(0.0, 1.0, self.model.low))

    def render(self, note: Note) -> np.ndarray:
        """Return one note's sound from its start on, float32 (samples,); raises `InputError` if out of range."""
        return next(self.voices([note]))[1]

    def voices(self, notes: Iterable[Note]) -> Iterator[tuple[Key, np.ndarray]]:
        """Yield the key and the sound of each distinct note, float32 (samples,) from its start on."""
        notes = list(notes)
        check_range(notes, self.model.low, self.model.high, f"the model {self.model.name}")
        keys = dict.fromkeys(map(key_of, notes))
        for key in [key for key in keys if key in self.cached]:
            self.cached.move_to_end(key)
            keys.pop(key)
            yield key, self.cached[key]
        self.tones.add((pitch, held) for pitch, _, held in keys)  # the longest first: tails need less
        self._find_tails({pitch for pitch, _, _ in keys} - set(self.tails))
        for key, sound in self._make(list(keys), {}):
            sound *= np.float32(velocity_gain(key[1]))
            self._keep(key, sound)
            yield key, sound

    def sustain(self, pitch: int, velocity: int = 100) -> Iterator[np.ndarray]:
        """Yield the sound of a held key in float32 (samples,) pieces, endlessly, beginning with its note-on. Each piece
        costs one small batch. Raises `InputError` if the pitch is out of range."""
        check_range([Note(0.0, 1.0, pitch)], self.model.low, self.model.high, f"the model {self.model.name}")
        spectral, tiling = self.model.settings.spectral, self.tiling
        o, step, tiles = spectral.oversampling, spectral.frame_step, tiling.rows[-1]
        size = tiles * tiling.core * step // o
        buffer, at = OverlapBuffer(), -padding(spectral) // o  # where the next piece's first frame begins
        for number in count():
            key = pitch, velocity, -number - 1  # no note is held for less than one sample
            piece = self.cached.get(key)
            if piece is None:
                end = at + size + spectral.frame_length  # no frame of this piece reaches it
                length = AHEAD * 2 ** max(0, math.ceil(math.log2(end / AHEAD)))
                self.tones.add([(pitch, length)])
                offsets = at + size // tiles * np.arange(tiles) - tiling.context * step // o
                voices = Voices(*np.repeat([[pitch], [velocity], [length]], tiles, axis=1))
                spectra = np.concatenate(self._predict(voices, offsets))
                piece = resynthesize(spectra, spectral) * np.float32(velocity_gain(velocity))
                if number == 0:  # every stroke of this key begins with it
                    self._keep(key, piece)
            buffer.add(at, piece)
            at += size
            yield buffer.take(at - buffer.at)

    def tail(self, pitch: int, velocity: int, held: int, begin: int) -> np.ndarray:
        """Return the sound of a key held for `held` samples from its sample `begin` on, float32 (samples,)."""
        self._find_tails({pitch} - set(self.tails))
        _, sound = next(self._make([(pitch, velocity, held)], self.tails, begin))
        return sound[begin:] * np.float32(velocity_gain(velocity))

    def _keep(self, key: Key, sound: np.ndarray) -> None:
        """Keep a voice, and drop the least recently used ones where memory is short."""
        self.cached[key] = sound
        held = sum(voice.nbytes for voice in self.cached.values())
        while held > CACHE_BYTES:
            held -= self.cached.popitem(last=False)[1].nbytes

    def _find_tails(self, pitches: set[int]) -> None:
        """Find how long keys sound after their note: the same for every piece."""
        release, held = len(self.tones.fade), samples_of(PROBE)[1]
        probes = [(pitch, 100, held) for pitch in sorted(pitches)]
        for (pitch, _, _), sound in self._make(probes, dict.fromkeys(pitches, release), held):
            audible = np.flatnonzero(np.abs(sound[held:]) > FLOOR)
            self.tails[pitch] = min(release, int(audible[-1]) + 1 if len(audible) else 1)

    def _predict(self, voices: Voices, offsets: np.ndarray) -> np.ndarray:
        """Return the spectra (voices, core, bins) of one tile of each voice, `offsets` samples after its note-on."""
        settings, frames = self.model.settings, self.tiling.frames
        inputs = voice_inputs(voices, offsets, self.tones, settings, frames, self.model.longest)
        return predict_spectra(self.model, inputs)

    def _make(self, keys: list[Key], tails: dict[int, int], begin: int = 0) -> Iterator[tuple[Key, np.ndarray]]:
        """Yield the sound of each key's voice before its gain; samples before `begin` may be left out."""
        spectral, tiling = self.model.settings.spectral, self.tiling
        core, o, step = tiling.core, spectral.oversampling, spectral.frame_step
        before = padding(spectral)
        voices = Voices(*np.array(keys, np.int64).reshape(-1, 3).T)
        tails = tails or self.tails
        lengths = [held + tails[pitch] for pitch, _, held in keys]
        self.tones.add((pitch, held) for pitch, _, held in keys)
        first = max(0, (begin * o + before - spectral.frame_length) // step) // core * core
        counts = [frame_count(length * o, spectral) for length in lengths]
        tiles = [(v, at) for v, count in enumerate(counts) for at in range(first, count, core)]
        buffer, waiting = OverlapBuffer(), []
        for batch in tiling.batches(tiles):
            rows, at = np.array(batch).T
            offsets = ((at - tiling.context) * step - before) // o
            for (v, at), spectra in zip(batch, self._predict(voices[rows], offsets), strict=True):
                waiting.append(spectra[: counts[v] - at])
                done = at + core
                if done >= counts[v] or len(waiting) * core >= MOST_FRAMES:
                    start = done - len(waiting) * core
                    buffer.add((start * step - before) // o, resynthesize(np.concatenate(waiting), spectral))
                    waiting.clear()
                if done >= counts[v]:  # a voice begins with its note and ends with its release, to the sample
                    yield keys[v], buffer.take(lengths[v])
                    buffer = OverlapBuffer()
