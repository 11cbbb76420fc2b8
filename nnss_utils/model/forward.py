"""From a network's inputs to the normalized spectrum (notebook 05_train shows it step by step). A mask network:
prediction = mask_tone x tone + mask_impulse x impulse, bin by bin. A direct network returns the spectrum itself.
Complex numbers are real pairs (..., 2)."""

import numpy as np

from nnss_utils.dsp.stft import Spectral, window_samples
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.modes import tone_frames
from nnss_utils.model.pairs import (
    complex_product,
    denormalize_pairs,
    magnitude,
    normalize_pairs,
    outer_product,
    windowed_frames,
)
from nnss_utils.model.settings import Settings

# magnitudes: where parts of a sum cancel, a power's gradient would otherwise exceed all others
SUM_FLOOR = 1e-5  # -100 dB, for voices in a mix
MODES_FLOOR = 1e-7  # -140 dB, for modes and impulse of one voice: a soft sound's upper bins lie below -100 dB


def predict(network: keras.Model, inputs: dict, settings: Settings, output_scale: float):
    """Return a network's normalized prediction (voices or examples, frames, bins, 2), pairs."""
    power = settings.training.power
    if settings.network.kind.modes:
        return normalize_pairs(predict_modes(network, inputs, settings, output_scale), power, MODES_FLOOR)
    predict_any = predict_voices if settings.network.kind.per_voice else predict_mix
    return predict_any(network, inputs, power, output_scale)


def predict_spectra(network: keras.Model, inputs: dict, settings: Settings, output_scale: float):
    """Return a network's denormalized prediction (voices or examples, frames, bins, 2), pairs."""
    if settings.network.kind.modes:
        return predict_modes(network, inputs, settings, output_scale)
    return denormalize_pairs(predict(network, inputs, settings, output_scale), settings.training.power)


def predict_modes(network: keras.Model, inputs: dict, settings: Settings, output_scale: float):
    """Return a modal network's spectra (voices, frames, bins, 2): tone and impulse, added after denormalization."""
    gains, damping, impulse = predict_gains(network, inputs, settings, output_scale)
    return tone_spectra(gains, damping, inputs, settings.spectral) + impulse


def predict_gains(network: keras.Model, inputs: dict, settings: Settings, output_scale: float) -> tuple:
    """Return a modal network's gains (voices, frames, MODES, 2), damping (voices, 1, 1) in 1/s, and impulse spectra
    (voices, frames, bins, 2). Gains and mask are normalized, in units of `output_scale`; what is returned is not."""
    outputs = network([inputs[name] for name in ("features", "attack", "row")])
    gains, mask, off, damping = (ops.cast(x, "float32") for x in outputs)
    impulse = impulse_spectra(output_scale * mask, off, inputs, settings)
    return denormalize_pairs(output_scale * gains, settings.training.power), damping, impulse


def predict_frames(network: keras.Model, inputs: dict, settings: Settings, output_scale: float):
    """Return a prediction's windowed frames of sound (voices, frames, frame_length), by the inverse transform. A modal
    network's tone is made as frames, so that neither its transform nor the inverse is needed."""
    if not settings.network.kind.modes:
        return windowed_frames(predict_spectra(network, inputs, settings, output_scale), settings.spectral)
    gains, damping, impulse = predict_gains(network, inputs, settings, output_scale)
    tone = mode_frames(gains, damping, inputs, settings.spectral) * window_samples(settings.spectral)
    return windowed_frames(impulse, settings.spectral) + tone


def tone_spectra(gains, damping, inputs: dict, spectral: Spectral):
    """Return the scaled spectra (voices, frames, bins, 2) of a key's modes with `gains` (voices, frames, MODES, 2)."""
    transformed = ops.rfft(mode_frames(gains, damping, inputs, spectral))
    return ops.stack([part[..., : spectral.bins] * spectral.scale for part in transformed], axis=-1)


def mode_frames(gains, damping, inputs: dict, spectral: Spectral):
    """Return the frames (voices, frames, frame_length) of a key's modes, decaying by `damping` (1/s) after note-off."""
    blocks, samples = (ops.take(inputs[name], inputs["key"], axis=0) for name in ("blocks", "samples"))
    frames = tone_frames(complex_product(gains, inputs["phasors"]), blocks, samples, inputs["starts"], spectral)
    ends = ops.cast(ops.minimum(ops.expand_dims(inputs["ends"], -1), spectral.frame_length), "float32")
    decay = ops.exp(damping * (np.arange(spectral.frame_length, dtype=np.float32) / -spectral.rate))  # of all frames
    return frames * ops.minimum(ops.exp(damping * ends / spectral.rate) * decay, 1.0)


def impulse_spectra(mask, off, inputs: dict, settings: Settings):
    """Return the spectra (voices, frames, bins, 2) of the impulse at note-on and `off` (voices, frames, 1) times that
    at note-off, both normalized, under a normalized `mask`."""
    shares = ops.concatenate([ops.ones_like(off), off], axis=-1)[..., None, None]
    impulse = outer_product(inputs["coarse"] * shares, inputs["fine"], settings.spectral.bins)
    return denormalize_pairs(complex_product(mask, impulse), settings.training.power)


def predict_voices(network: keras.Model, inputs: dict, power: float | str, output_scale: float):
    """Return a mask network's normalized prediction (voices, frames, bins, 2) from inputs.voice_inputs. Masks multiply
    normalized spectra and are scaled by `output_scale`."""
    tone = normalize_pairs(inputs["tone"], power)
    impulse = normalize_pairs(outer_product(inputs["coarse"], inputs["fine"], tone.shape[-2]), power)
    masks = ops.cast(network([magnitude(tone), inputs["features"], inputs["pitch"]]), "float32")
    mask_tone, mask_impulse = ops.split(ops.reshape(masks, (*ops.shape(tone)[:-1], 4)), 2, axis=-1)
    return output_scale * (complex_product(mask_tone, tone) + complex_product(mask_impulse, impulse))


def predict_mix(network: keras.Model, inputs: dict, power: float | str, output_scale: float):
    """Return a direct network's normalized prediction of the mix's "codification", (examples, frames, bins, 2)."""
    codification = normalize_pairs(inputs["codification"], power)
    parts = ops.concatenate([codification[..., 0], codification[..., 1]], axis=-1)
    return output_scale * ops.cast(ops.stack(network(parts), axis=-1), "float32")
