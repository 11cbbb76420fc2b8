"""Neural network spectral synthesis: a MIDI file becomes a piano by way of a predicted complex spectrogram.

The block diagram is the file list (notebook 01_codification draws it):

    midi, scores -> codification (tuning) -> spectral -> normalization -> models -> synthesis -> metrics
    instrument (samples, soundfont, pair) -> sampling, losses -> training (checkpoint)

What can be chosen by name is in catalogue (windows, losses, models). The laboratory trains any choice for equal
time: comparisons (the rows) -> sweep -> laboratory (one row) -> claims (verdicts); phase and resolution measure
without training, widgets let hear and see.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow: no chatter in notebooks
