"""Instruments by name: "steinway", "salamander", "salamander_key_off", or the path of a SoundFont."""

from functools import partial

from nnss_utils.errors import InputError
from nnss_utils.instruments import soundfont
from nnss_utils.instruments.base import OWN_RECORDING, Instrument
from nnss_utils.instruments.salamander import KEY_OFF_NAME, Salamander
from nnss_utils.instruments.steinway import Steinway

PIANOS = {Steinway.name: Steinway, Salamander.name: Salamander, KEY_OFF_NAME: partial(Salamander, key_off=True)}


def is_soundfont(name: str) -> bool:
    """Return whether an instrument's name is the path of a SoundFont."""
    return isinstance(name, str) and name.lower().endswith((".sf2", ".sf3"))


def can_play(name: str) -> bool:
    """Return whether an instrument's name means one that can play, not a recording."""
    return not name.startswith(OWN_RECORDING)


def grid_of(name: str) -> int:
    """Return the grid (samples) of the instrument called `name`, without loading it."""
    return soundfont.BLOCK if is_soundfont(name) else Steinway.grid


def load_instrument(name: str) -> Instrument:
    """Return the instrument called `name`; raises `InputError` if it is unknown, or fluidsynth is missing."""
    if isinstance(name, str) and name in PIANOS:
        return PIANOS[name]()
    if is_soundfont(name):
        return soundfont.SoundFont(name)
    known = ", ".join(f'"{piano}"' for piano in PIANOS)
    raise InputError(f"instrument={name!r} is unknown; use {known}, or the path of a SoundFont (.sf2 or .sf3)")
