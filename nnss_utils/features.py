"""What a mask network is told of its own note beside the codification: time since note-on and note-off, velocity.

Features that saw another note's events would be constant in training and not in a piece: a voice sees its own.
"""

import numpy as np

from nnss_utils.spectral import SAMPLE_RATE

DECAYS = (0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # s, of the exponentials of the time since an event
WIDTHS = (0.002, 0.004, 0.008, 0.016, 0.032)  # s, of the steps and bumps around an event
PER_EVENT = len(DECAYS) + 2 * len(WIDTHS)
COUNT = 2 * PER_EVENT + 1


def event_features(seconds: np.ndarray) -> np.ndarray:
    """Return float32 (..., PER_EVENT) of the time since an event in seconds (...), negative before it."""
    t = np.asarray(seconds, np.float32)[..., None]
    decays, widths = np.float32(DECAYS), np.float32(WIDTHS)
    return np.concatenate(
        [
            np.where(t >= 0, np.exp(-np.maximum(t, 0) / decays), 0),
            np.tanh(t / widths),
            np.exp(-np.minimum(np.square(t / widths), 80)),
        ],
        axis=-1,
    ).astype(np.float32)


def note_features(since_on: np.ndarray, since_off: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return float32 (..., COUNT): both events' features and velocity / 127.

    since_on and since_off are samples (...) from the event to the frame's middle; velocity broadcasts to them.
    """
    on = event_features(np.asarray(since_on) / SAMPLE_RATE)
    off = event_features(np.asarray(since_off) / SAMPLE_RATE)
    level = np.broadcast_to(np.float32(velocity) / 127, np.shape(since_on))[..., None]
    return np.concatenate([on, off, level], axis=-1).astype(np.float32)
