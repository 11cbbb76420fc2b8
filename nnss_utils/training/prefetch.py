"""Threads make batches before training needs them and move them to the network's device (notebook 11_speed)."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from nnss_utils.model.backend import keras, ops
from nnss_utils.training.dataset import Batch, Dataset

WORKERS = max(1, (os.cpu_count() or 1) // 4)  # threads that make batches beside the network's own
DEPTH = 3  # batches


def on_device(batch: Batch | None) -> Batch | None:
    """Return a batch with its arrays as the backend's tensors, where the network computes."""
    return batch and Batch(*keras.tree.map_structure(ops.convert_to_tensor, (batch.inputs, batch.target)))


def batch_number(step: int, echo: int) -> int:
    """Return which batch a step uses: with echo 2 the steps 0, 1, 2, ... use the batches 0 1 0 1 2 3 2 3 ..."""
    return step if echo == 1 else step // (2 * echo) * 2 + step % 2


def batches_ahead(pool: ThreadPoolExecutor, dataset: Dataset, first: int, last: int, echo: int) -> Iterator[Batch]:
    """Yield the batches of the steps first..last - 1, with DEPTH of them made and moved to the device ahead."""
    made: dict[int, Future] = {}
    for step in range(first, last):
        wanted = {batch_number(n, echo): None for n in range(step, min(step + DEPTH, last))}  # in order
        made = {n: made.get(n) or pool.submit(lambda n=n: on_device(dataset.batch(n))) for n in wanted}
        yield made[batch_number(step, echo)].result()
