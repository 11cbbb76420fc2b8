"""Players for notebooks: sound as short MP3, never made louder or softer than it is."""

import io

import numpy as np
import soundfile
from IPython.display import HTML, Audio, display

from nnss_utils.spectral import SAMPLE_RATE

LONGEST = 60.0  # s of sound in one player


def mp3(sound: np.ndarray, gain: float = 1.0) -> bytes:
    """Return a sound float (samples,) as MP3 bytes; beyond +-1 after `gain` it is clipped, as players do."""
    buffer = io.BytesIO()
    part = np.clip(np.asarray(sound[: round(LONGEST * SAMPLE_RATE)], np.float32) * np.float32(gain), -1, 1)
    soundfile.write(buffer, part, SAMPLE_RATE, format="MP3")
    return buffer.getvalue()


def player(sound: np.ndarray, title: str = "", gain: float = 1.0) -> None:
    """Show a player of the first minute of a sound (samples,) at its own loudness times `gain`."""
    if title:
        display(HTML(f"<b>{title}</b>"))
    audio = Audio(data=mp3(sound, gain), rate=SAMPLE_RATE, normalize=False)
    audio.mimetype = "audio/mpeg"  # IPython would label it audio/wav
    display(audio)


def players(sounds: dict[str, np.ndarray]) -> None:
    """Show a player for each sound by its name, all with the one gain that brings the loudest peak to 0.9."""
    peak = max((float(np.abs(sound).max(initial=0)) for sound in sounds.values()), default=0)
    for title, sound in sounds.items():
        player(sound, title, 0.9 / peak if peak > 0 else 1.0)
