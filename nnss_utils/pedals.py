"""Keys and pedals of a MIDI channel: which note ends when."""

from collections import defaultdict, deque
from collections.abc import Callable

SUSTAIN, SOSTENUTO = 64, 66  # controller numbers of the pedals; 64 and above is down
SOUND_OFF, NOTES_OFF = 120, 123  # controllers that end all notes of a channel: at once, and as if keys were released


class Channel:
    """The keys of one channel: those that are held, and released ones that a pedal holds. (pitch, track): strikes."""

    def __init__(self) -> None:
        self.held: dict[tuple, deque[tuple[float, int]]] = defaultdict(deque)  # (start, velocity)
        self.pedalled: dict[tuple, list[tuple[float, int]]] = {}
        self.caught: set[tuple] = set()  # keys that the sostenuto pedal holds
        self.down = {SUSTAIN: False, SOSTENUTO: False}

    def strike(self, key: tuple, now: float, velocity: int) -> list[tuple]:
        """Add a note and return the notes that it ends."""
        self.held[key].append((now, velocity))
        return [(key, strike) for strike in self.pedalled.pop(key, ())]

    def release(self, key: tuple) -> list[tuple]:
        """Release the first strike of a key; return it if it ends."""
        if not self.held[key]:
            return []
        strike = self.held[key].popleft()
        if self.down[SUSTAIN] or key in self.caught:
            self.pedalled.setdefault(key, []).append(strike)
            return []
        return [(key, strike)]

    def control(self, number: int, value: int) -> list[tuple]:
        """Return the notes that a controller's event ends."""
        if number in (SOUND_OFF, NOTES_OFF):
            keys = [key for key, strikes in self.held.items() for _ in strikes]
            ended = [strike for key in keys for strike in self.release(key)]
            return ended + (self.free(lambda key: True) if number == SOUND_OFF else [])
        if number not in self.down or self.down[number] == (value >= 64):
            return []
        self.down[number] = value >= 64
        if number == SOSTENUTO:
            self.caught = {key for key, strikes in self.held.items() if strikes} if self.down[number] else set()
        return self.free(lambda key: not self.down[SUSTAIN] and key not in self.caught)

    def free(self, ends: Callable[[tuple], bool]) -> list[tuple]:
        """Return the notes that pedals hold no more, of the keys of which `ends` is true."""
        keys = [key for key in self.pedalled if ends(key)]
        return [(key, strike) for key in keys for strike in self.pedalled.pop(key)]
