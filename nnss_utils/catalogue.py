"""What can be chosen by name, in one place: windows, losses and architectures (notebook 07_claims compares them).

Each is a plain function. A user adds one of their own by its name before it is used, in a notebook's cell:

    from nnss_utils import catalogue
    catalogue.LOSSES["cubic"] = lambda target, prediction: ops.mean(ops.abs(target - prediction) ** 3)

and then `make_settings(loss="cubic")` trains with it. Architectures wrap a function in `Architecture`, which also
says what the network hears.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nnss_utils import losses, models
from nnss_utils.windows import WINDOWS

__all__ = ["ARCHITECTURES", "LOSSES", "SOUND_LOSSES", "WINDOWS", "Architecture", "loss_names"]


@dataclass(frozen=True)
class Architecture:
    """A function (layers, units, bins) -> keras.Model, what it hears, and the sizes that suit two CPU cores.

    per_voice: a mask network that hears one note at a time, not the mix; sequences: it needs frames in a row, else
    a row may hold any frames of one note. The others: what a parameter of 0 stands for.
    """

    build: Callable
    per_voice: bool = False
    sequences: bool = True
    layers: int = 2
    units: int = 256
    batch: int = 16
    frames: int = 64
    steps: int = 1500
    learning_rate: float = 2e-3
    echo: int = 1


ARCHITECTURES = {
    "mask_keyed": Architecture(models.mask_keyed, True, False, 1, 30, 88, 12, 3000, 6e-3, 2),
    "mask_dense": Architecture(models.mask_dense, True, False, 3, 512, 1024, 1),
    "mask_blstm": Architecture(models.mask_blstm, True, True, 2, 256, 32, 32),
    "direct_blstm": Architecture(models.direct_blstm),
    "direct_gru": Architecture(models.direct_gru),
    "direct_convolution": Architecture(models.direct_convolution, layers=4),
    "direct_image_convolution": Architecture(models.direct_image_convolution, layers=4, units=16),
    "direct_transformer": Architecture(models.direct_transformer, layers=4),
}

# of normalized spectra, pairs (examples, frames, bins, 2) in units of their level
LOSSES = {"mse": losses.mse, "mae": losses.mae, "complex_magnitude": losses.complex_magnitude}
# of the sounds that the inverse STFT makes of the denormalized spectra, (examples, samples)
SOUND_LOSSES = {"multi_scale": losses.multi_scale}


def loss_names() -> tuple[str, ...]:
    """Return the names of all losses."""
    return (*LOSSES, *SOUND_LOSSES)
