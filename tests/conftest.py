"""Shared by the tests: an own folder for what they write, the piano, and one small trained model."""

import os
import tempfile

os.environ["NNSS_HOME"] = tempfile.mkdtemp(prefix="nnss-tests-")  # before nnss_utils.paths is imported

import pytest

from nnss_utils.instruments.pair import Pair, make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.model.model_file import TrainedModel
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.scores import scale_sequence
from nnss_utils.training.train import train


@pytest.fixture(scope="session")
def piano() -> Steinway:
    """The default instrument, fetched if it is not there."""
    return Steinway()


@pytest.fixture(scope="session")
def pair(piano) -> Pair:
    """A short scale of five keys."""
    return make_pair(scale_sequence(60, 64, repetitions=2, longest=0.6, sustained=0), piano)


def small_settings(**changes) -> Settings:
    """Settings of a network that trains in seconds."""
    return make_settings(
        **{"name": "small", "units": 12, "batch": 20, "frames": 8, "steps": 400, "holdout": 0.1} | changes
    )


@pytest.fixture(scope="session")
def model(pair) -> TrainedModel:
    """A small mask network trained on the short scale."""
    return train(pair, small_settings())
