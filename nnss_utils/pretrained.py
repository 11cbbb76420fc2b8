"""The model that the project ships, data/models/steinway.keras, made by `python -m nnss_utils.pretrained [MIDI ...]`.

It is notebook 05's default network, trained for longer; the file says how it was made and what it reaches on the
project's scores and the MIDI files named.
"""

import dataclasses
import sys

from nnss_utils import training
from nnss_utils.config import make_settings
from nnss_utils.errors import InputError
from nnss_utils.modelfile import PRETRAINED, load_model, save_small_model
from nnss_utils.paths import shown
from nnss_utils.pieces import measure_pieces
from nnss_utils.run import make_scale_pair
from nnss_utils.scores import SCORES

STEPS, SECONDS, ECHO = 10000, 1800.0, 1  # with time enough, every batch is a new one
COMMAND = f"papermill 05_train.ipynb out.ipynb -p name steinway -p steps {STEPS} -p seconds {SECONDS:g} -p echo {ECHO}"
LARGEST = 12e6  # bytes


def main(midis: list[str]) -> None:
    """Train the network unless it is trained, measure it as float16, and write it with its measures."""
    pair, settings = make_scale_pair(), make_settings(name=PRETRAINED.stem, steps=STEPS, seconds=SECONDS, echo=ECHO)
    model = load_model(settings.name) if training.is_trained(settings, pair) else training.train(pair, settings)
    made = {"command": COMMAND}
    save_small_model(PRETRAINED, dataclasses.replace(model, training=model.training | made))
    small = load_model(str(PRETRAINED))
    measures = measure_pieces(small, [*SCORES, *midis])["worst"]
    save_small_model(PRETRAINED, dataclasses.replace(small, training=small.training | {"measures": measures}))
    size = PRETRAINED.stat().st_size
    print(f"{shown(PRETRAINED)}: {size / 1e6:.1f} MB; worst of {len(SCORES) + len(midis)} pieces: {measures}")
    if size > LARGEST:
        raise InputError(f"{shown(PRETRAINED)} has {size:,} bytes, more than {LARGEST:,.0f}; give fewer units")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
