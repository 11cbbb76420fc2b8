"""Neural network spectral synthesis: a MIDI file becomes a piano through a predicted complex spectrogram.

    import nnss_utils as nn
    notes, model = nn.read_notes("bwv847_fugue"), nn.load_model("steinway")
    nn.listen({"prediction": nn.render(notes, model)})

Rooms, from the top down; a room imports only from the rooms above it (a test checks it):

    midi, scores        notes: read, written, and the project's own pieces (paths, errors, provenance: for every room)
    dsp                 STFT, phase demodulation, power normalization
    instruments         notes -> sound: the piano, SoundFonts; training pairs and their checks
    model               codification -> network inputs -> network -> normalized prediction; the model file
    training            pair -> random frames -> loss -> trained model
    synthesis           notes -> frames of each voice -> sound
    evaluation          measures, baselines, the test set
    laboratory          experiments in equal time, and the author's claims
    notebook            plots, players, sliders, the app
    maintenance         benchmarks, tables of results, the shipped model

Everything in `__all__` is here under one name and is imported only when it is used.
"""

import importlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow: no log lines in notebooks

SAMPLE_RATE = 44100  # Hz, of every sound here

_ROOMS = {  # name -> the module that defines it; `plots` is a module itself
    "read_notes": "scores",
    "scale_sequence": "scores",
    "Spectral": "dsp.stft",
    "stft": "dsp.stft",
    "istft": "dsp.stft",
    "heterodyne": "dsp.demodulation",
    "normalize": "dsp.normalization",
    "denormalize": "dsp.normalization",
    "load_instrument": "instruments.load",
    "make_pair": "instruments.pair",
    "load_pair": "instruments.pair",
    "estimate_tuning": "instruments.tuning",
    "codify": "model.codification",
    "make_settings": "model.settings",
    "build_network": "model.settings",
    "predict": "model.forward",
    "load_model": "model.model_file",
    "train": "training.train",
    "render": "synthesis.render",
    "measure": "evaluation.metrics",
    "listen": "notebook.players",
    "plots": "notebook",
}
__all__ = ["SAMPLE_RATE", *_ROOMS]


def __getattr__(name: str) -> object:
    """Import a name of the facade when it is first used (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "plots":
        return importlib.import_module("nnss_utils.notebook.plots")
    return getattr(importlib.import_module(f"nnss_utils.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
