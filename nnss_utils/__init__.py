"""Neural network spectral synthesis: a MIDI file becomes a piano by way of a predicted complex spectrogram.

The block diagram is the file list (notebook 01_codification draws it):

    midi, scores -> codification (tuning) -> voices -> spectral -> normalization -> models (recurrent)
    instrument (samples, soundfont, pair, wav) -> sampling, losses -> batches -> training (checkpoint, monitor)
    a pair of your own: timing (onsets), likeness (pitches)
    inference -> player (one voice) -> synthesis (a piece) -> metrics
    listening (players for all notebooks); plots, charts, diagrams
    desk (10_play): menu, keyboard, uploads; browser/ is what pages run

What can be chosen by name is in catalogue (windows, losses, models). The laboratory trains any choice for equal
time: comparisons (the rows) -> sweep -> laboratory (one row) -> claims (verdicts); phase and resolution measure
without training, widgets let hear and see, benchmark (bench_training, bench_synthesis) says what is fast.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow: no chatter in notebooks

if "ipykernel" in sys.modules and "keras" not in sys.modules:
    # TensorFlow 2.21 greets on the process' stderr whatever its level is: a red box in every notebook
    from nnss_utils.quiet import quiet_stderr

    with quiet_stderr():
        import keras  # noqa: F401
