"""From a network's inputs to the normalized spectrum (notebook 05_train shows it step by step). A mask network:
prediction = mask_tone x tone + mask_impulse x impulse, bin by bin. A direct network returns the spectrum itself.
Complex numbers are real pairs (..., 2)."""

from nnss_utils.model.backend import keras, ops
from nnss_utils.model.pairs import complex_product, magnitude, normalize_pairs, outer_product
from nnss_utils.model.settings import Settings


def predict(network: keras.Model, inputs: dict, settings: Settings, output_scale: float):
    """Return a network's normalized prediction (voices or examples, frames, bins, 2), pairs."""
    predict_any = predict_voices if settings.network.per_voice else predict_mix
    return predict_any(network, inputs, settings.training.power, output_scale)


def predict_voices(network: keras.Model, inputs: dict, power: float | str, output_scale: float):
    """Return a mask network's normalized prediction (voices, frames, bins, 2) from inputs.voice_inputs. Masks multiply
    normalized spectra and are scaled by `output_scale`."""
    tone, impulse = normalized_channels(inputs, power)
    mask_tone, mask_impulse = predict_masks(network, tone, inputs)
    return output_scale * (complex_product(mask_tone, tone) + complex_product(mask_impulse, impulse))


def normalized_channels(inputs: dict, power: float | str) -> tuple:
    """Return the normalized tone and impulse channels, each (voices, frames, bins, 2)."""
    tone = normalize_pairs(inputs["tone"], power)
    return tone, normalize_pairs(outer_product(inputs["coarse"], inputs["fine"], tone.shape[-2]), power)


def predict_masks(network: keras.Model, tone, inputs: dict) -> tuple:
    """Return the masks of the tone and of the impulse channel, each (voices, frames, bins, 2)."""
    masks = ops.cast(network([magnitude(tone), inputs["features"], inputs["pitch"]]), "float32")
    return ops.split(ops.reshape(masks, (*ops.shape(tone)[:-1], 4)), 2, axis=-1)


def predict_mix(network: keras.Model, inputs: dict, power: float | str, output_scale: float):
    """Return a direct network's normalized prediction of the mix's "codification", (examples, frames, bins, 2)."""
    codification = normalize_pairs(inputs["codification"], power)
    parts = ops.concatenate([codification[..., 0], codification[..., 1]], axis=-1)
    return output_scale * ops.cast(ops.stack(network(parts), axis=-1), "float32")
