"""Renders voices by a mask network, for a piece, a keyboard or a single note (notebook 11_speed). Only audible sound is
computed: voices are cached, and a voice ends where its key's damper has silenced it."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, count, groupby, islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import frame_count, padding
from nnss_utils.midi import Note, check_range, samples_of
from nnss_utils.model.codification import add_part
from nnss_utils.model.inputs import Voices, make_table, voice_inputs
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.synthesis.inference import Tiling, predict_sounds

FLOOR = 3e-6  # -110 dB: a released voice ends where its key's probe stays below
PROBE = Note(0.0, 0.25, 0)  # a short note: its tail shows how long its key sounds after release
TONES = 2**23  # samples of tones in memory, 34 MB
CACHE_BYTES = 8_000_000  # of the ends of voices in memory
BEGINNING_BYTES = 64_000_000  # of the beginnings of held keys in memory: 4 s of each of 88 keys
MOST_HELD = 250 * SAMPLE_RATE  # samples of voices that are made together, 44 MB: a pedal may hold many for long
AHEAD = 2 * SAMPLE_RATE  # samples of tone made at first for a held key; each further time twice as many
BATCHES = 2  # made at a time, in threads: NumPy makes the inputs of one while the network runs on another
PIECE = 0.4  # s of a piece of a beginning, about: whole tiles of frames

Key = tuple[int, int, int]  # pitch, velocity, samples held: notes with the same key sound the same


def key_of(note: Note) -> Key:
    """Return what decides how a note sounds."""
    return note.pitch, note.velocity, samples_of(note)[1]


class Part(NamedTuple):
    """Samples begin..end of a voice to be made."""

    pitch: int
    velocity: int
    held: int
    begin: int
    end: int


class VoiceRenderer:
    """Renders notes by a network that hears one voice at a time, and keeps what it made. Until shortly before note-off
    all notes of a key and a velocity sound the same: this beginning is made once, the release for each note."""

    def __init__(self, model: TrainedModel) -> None:
        """Make a renderer of `model`; nothing is computed yet."""
        self.model, self.tiling = model, Tiling.of(model)
        self.table = make_table(model.tuning, (), model.settings, TONES)
        self.tails: dict[int, int] = {}  # samples that a key sounds after its note
        self.cached = SoundCache(CACHE_BYTES)  # what follows the beginning, by Key
        # pieces, by pitch, velocity, and number of the piece: the first ones, which most notes need, stay longest
        self.beginnings = SoundCache(BEGINNING_BYTES, itemgetter(2))
        spectral = model.settings.spectral
        overlap, hop = -(-spectral.frame_length // spectral.frame_step), spectral.frame_step // spectral.oversampling
        tiles = math.ceil(PIECE * SAMPLE_RATE / (self.tiling.core * hop))
        self.piece = max(1, tiles * self.tiling.core - overlap + 1) * hop  # samples
        self.pool = ThreadPoolExecutor(BATCHES)
        alike = model.heard.dynamics or len(set(model.heard.velocities)) == 1  # else few notes share a beginning
        self.shared = alike and model.settings.network.kind.modes and spectral.oversampling == 1

    def warm_up(self) -> None:
        """Compile the network and find every key's tail, so that the first note is as quick as the next."""
        self._find_tails(set(range(self.model.low, self.model.high + 1)) - set(self.tails))
        self.render(Note(0.0, 1.0, self.model.low))

    def render(self, note: Note) -> np.ndarray:
        """Return one note's sound from its start on, float32 (samples,); raises `InputError` if out of range."""
        return sum(gain * np.concatenate(pieces) for _, gain, pieces in self.voices([note]))

    def voices(self, notes: Iterable[Note]) -> Iterator[tuple[Key, np.float32, list[np.ndarray]]]:
        """Yield the key, a gain and the sound of each distinct note, from its start on, in float32 pieces (samples,)
        that follow each other: beginnings that many notes share are not copied. A velocity between two that the network
        heard is the sum of both, yielded one after the other."""
        notes = list(notes)
        check_range(notes, self.model.low, self.model.high, f"the model {self.model.name}")
        played: dict[Key, list[tuple[Key, np.float32]]] = {}  # what a heard velocity's sound is part of
        for key in dict.fromkeys(map(key_of, notes)):
            for heard, gain in self._layers(*key[:2]):
                played.setdefault((key[0], heard, key[2]), []).append((key, gain))
        ends = accumulate(held for _, _, held in played)
        for _, group in groupby(zip(ends, played, strict=True), lambda item: item[0] // MOST_HELD):
            for layer, pieces in self._unscaled([key for _, key in group]):
                for key, gain in played[layer]:
                    yield key, gain, pieces

    def sustain(self, pitch: int, velocity: int = 100) -> Iterator[np.ndarray]:
        """Yield the sound of a held key in float32 (samples,) pieces, endlessly, beginning with its note-on. Each piece
        costs one small batch. Raises `InputError` if the pitch is out of range."""
        check_range([Note(0.0, 1.0, pitch)], self.model.low, self.model.high, f"the model {self.model.name}")
        layers = self._layers(pitch, velocity)
        for number in count():
            keys = [(pitch, heard, number) for heard, _ in layers]
            missing, sounds = self._missing(keys), {key: self.beginnings.get(key) for key in keys}
            for part, sound in zip(missing, self._make(missing), strict=True):
                sounds[pitch, part.velocity, number] = sound
                self.beginnings.keep((pitch, part.velocity, number), sound)
            yield sum(gain * sound for (_, gain), sound in zip(layers, sounds.values(), strict=True))

    def tail(self, pitch: int, velocity: int, held: int, begin: int) -> np.ndarray:
        """Return the sound of a key held for `held` samples from its sample `begin` on, float32 (samples,)."""
        self._find_tails({pitch} - set(self.tails))
        layers = self._layers(pitch, velocity)
        sounds = self._make([Part(pitch, heard, held, begin, held + self.tails[pitch]) for heard, _ in layers])
        return sum(gain * sound for (_, gain), sound in zip(layers, sounds, strict=True))

    def _layers(self, pitch: int, velocity: int) -> list[tuple[int, np.float32]]:
        """Return the velocities, and the gains, of the sounds that add up to a velocity's."""
        return [(heard, np.float32(gain)) for heard, gain in self.model.heard.layers(pitch, velocity)]

    def _unscaled(self, keys: list[Key]) -> Iterator[tuple[Key, list[np.ndarray]]]:
        """Yield the pieces of each key's sound before its gain."""
        self._find_tails({pitch for pitch, _, _ in keys} - set(self.tails))
        splits = {key: self._split(key[2]) for key in keys}
        numbers = {key: range(-(-split // self.piece)) for key, split in splits.items()}
        wanted = dict.fromkeys((*key[:2], number) for key in keys for number in numbers[key])
        missing, ends = self._missing(wanted), {key: self.cached[key] for key in keys if key in self.cached}
        at_hand = {key: self.beginnings[key] for key in wanted if key in self.beginnings}
        new = [Part(*key, splits[key], key[2] + self.tails[key[0]]) for key in keys if key not in ends]
        sounds = self._make(missing + new)
        for part, sound in zip(missing, islice(sounds, len(missing)), strict=True):
            key = part.pitch, part.velocity, part.begin // self.piece
            at_hand[key] = sound
            self.beginnings.keep(key, sound)
        for key in keys:
            pieces = [at_hand[*key[:2], number] for number in numbers[key]]
            if pieces:
                pieces[-1] = pieces[-1][: splits[key] - (len(pieces) - 1) * self.piece]
            end = ends[key] if key in ends else next(sounds)
            self.cached.keep(key, end)
            yield key, [*pieces, end]

    def _split(self, held: int) -> int:
        """Return the sample of a note at which its first frame that reaches note-off begins: before, it is shared."""
        spectral = self.model.settings.spectral
        frame = (held + padding(spectral) - spectral.frame_length) // spectral.frame_step + 1
        return max(0, frame * spectral.frame_step - padding(spectral)) if self.shared else 0

    def _missing(self, keys: Iterable[Key]) -> list[Part]:
        """Return the pieces of beginnings (pitch, velocity, number) that are to be made."""
        parts, frame_length = [], self.model.settings.spectral.frame_length
        for pitch, velocity, number in keys:
            if (pitch, velocity, number) in self.beginnings:
                self.beginnings.move_to_end((pitch, velocity, number))
                continue
            end = (number + 1) * self.piece
            held = AHEAD * 2 ** max(0, math.ceil(math.log2((end + frame_length) / AHEAD)))  # tones of few lengths
            parts.append(Part(pitch, velocity, held, end - self.piece, end))
        return parts

    def _find_tails(self, pitches: set[int]) -> None:
        """Find how long keys sound after their note: the same for every piece."""
        release, held = self.model.settings.codification.release_samples, samples_of(PROBE)[1]
        probes = [Part(pitch, 100, held, held, held + release) for pitch in sorted(pitches)]
        for part, sound in zip(probes, self._make(probes), strict=True):
            audible = np.flatnonzero(np.abs(sound) > FLOOR)
            self.tails[part.pitch] = min(release, int(audible[-1]) + 1 if len(audible) else 1)

    def _make(self, parts: list[Part]) -> Iterator[np.ndarray]:
        """Yield the sound of each part before its gain, in order, float32 (end - begin,)."""
        spectral, tiling = self.model.settings.spectral, self.tiling
        core, o, step, before = tiling.core, spectral.oversampling, spectral.frame_step, padding(spectral)
        if not self.model.settings.network.kind.modes:
            self.table.add((part.pitch, part.held) for part in parts)
        spans = []  # of frames that reach into each part
        for part in parts:
            first = max(0, (part.begin * o + before - spectral.frame_length) // step + 1)
            first = first // core * core if tiling.context or o > 1 else first
            spans.append((first, frame_count(part.end * o, spectral)))
        tiles = [(v, at) for v, (first, last) in enumerate(spans) for at in range(first, last, core)]
        voices = Voices(*np.array([(p.pitch, p.velocity, p.held) for p in parts], np.int64).reshape(-1, 3).T)

        def predict(batch: list[tuple[int, int]]) -> np.ndarray:
            rows, at = np.array(batch).T
            starts = ((at - tiling.context) * step - before)[:, None] + step * np.arange(tiling.frames)
            inputs = voice_inputs(voices[rows], starts, self.table, self.model.settings, self.model.heard)
            return predict_sounds(self.model, inputs)

        for batch, predicted in made_ahead(self.pool, predict, tiling.batches(tiles)):
            for (v, at), sound in zip(batch, predicted, strict=True):
                part = parts[v]
                if at == spans[v][0]:
                    whole = np.zeros(part.end - part.begin, np.float32)
                add_part(whole, (at * step - before) // o - part.begin, sound)  # it begins and ends to the sample
                if at + core >= spans[v][1]:
                    yield whole


def made_ahead(pool: ThreadPoolExecutor, function: Callable, batches: Iterable) -> Iterator[tuple]:
    """Yield each batch and what `function` makes of it; the pool's threads make the next ones meanwhile."""
    waiting: deque[tuple] = deque()
    for batch in batches:
        waiting.append((batch, pool.submit(function, batch)))
        if len(waiting) > BATCHES:
            done, made = waiting.popleft()
            yield done, made.result()
    for done, made in waiting:
        yield done, made.result()


class SoundCache(OrderedDict):
    """Sounds by key, the least recently used first."""

    def __init__(self, most: int, rank: Callable[[tuple], int] | None = None) -> None:
        """Hold at most `most` bytes, but always one sound; of the keys of highest rank the first is dropped first."""
        super().__init__()
        self.most, self.rank, self.held = most, rank, 0

    def keep(self, key: tuple, sound: np.ndarray) -> None:
        """Put a sound at the end and drop what is too much."""
        self.held += sound.nbytes - (self.pop(key).nbytes if key in self else 0)
        self[key] = sound
        while self.held > self.most and len(self) > 1:
            worst = max(self, key=self.rank) if self.rank else next(iter(self))
            self.held -= self.pop(worst).nbytes
