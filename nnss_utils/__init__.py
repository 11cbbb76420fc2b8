"""Neural network spectral synthesis: a MIDI file becomes a piano through a predicted complex spectrogram.

    import nnss_utils as nn
    notes, model = nn.read_notes("bwv847_fugue"), nn.load_model("steinway")
    nn.listen({"prediction": nn.render(notes, model)})

Rooms, from the top down; a room imports only from the rooms above it (a test checks it):

    midi, scores        notes: read (midi_file, pedals), written, and the project's own pieces
                        (paths, errors, provenance, hdf5_file: for every room)
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
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow: no log lines in notebooks
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")  # the same: freed memory is used again, not given back
_HOME = os.environ.get("NNSS_HOME", Path(__file__).resolve().parent.parent)
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(_HOME, "data", "cache", "numba")))  # librosa must write somewhere

SAMPLE_RATE = 44100  # Hz, of every sound here

_ROOMS = {  # module -> names of the facade that it defines; `plots` is a module itself
    "errors": "check_parameters", "scores": "read_notes scale_sequence",
    "dsp.stft": "Spectral stft istft", "dsp.demodulation": "heterodyne", "dsp.normalization": "normalize denormalize",
    "instruments.load": "load_instrument", "instruments.pair": "make_pair load_pair",
    "instruments.tuning": "estimate_tuning",
    "model.codification": "codify", "model.settings": "make_settings build_network", "model.forward": "predict",
    "model.model_file": "load_model",
    "training.train": "train", "synthesis.render": "render", "evaluation.metrics": "measure",
    "notebook.players": "listen", "notebook.plots": "plots",
}  # fmt: skip
_MODULES = {name: module for module, names in _ROOMS.items() for name in names.split()}
__all__ = ["SAMPLE_RATE", *_MODULES]


def __getattr__(name: str) -> object:
    """Import a name of the facade when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"nnss_utils.{_MODULES[name]}")
    return module if name == "plots" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
