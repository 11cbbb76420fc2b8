"""Keras, imported without TensorFlow's log lines: import `keras`, `layers` and `ops` from here."""

from nnss_utils.errors import quiet_stderr

with quiet_stderr():  # TensorFlow 2.21 writes to stderr at any log level: a red box in every notebook
    import keras
    from keras import layers, ops

__all__ = ["keras", "layers", "ops"]
