"""Neural network spectral synthesis: a MIDI file becomes a piano by way of a predicted complex spectrogram.

The block diagram is the file list (notebook 01_codification draws it):

    midi, scores -> codification (tuning) -> spectral -> normalization -> models -> synthesis -> metrics
    instrument (samples, soundfont, pair) -> sampling, losses -> training (checkpoint)
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow: no chatter in notebooks
