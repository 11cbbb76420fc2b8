"""A sweep: experiments spread over worker processes by Dask, one core each (notebooks 03, 04, 07). Cached results are
not computed again, so an interrupted sweep continues. Workers are local processes, or those of a Dask scheduler on
other machines, given by its address."""

import logging
import os
import time
from collections.abc import Sequence

import dask
from distributed import Client, as_completed, get_worker

from nnss_utils.errors import InputError, check_number, progress_bar
from nnss_utils.laboratory.experiment import REGISTRIES, Experiment, cached_result, own_entries, run_experiment

TOPIC = "seconds trained"
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of training, {remaining} left{postfix}"
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
# of each worker: one core, whatever the machine has, so that rows don't disturb each other
ENVIRONMENT = {**dict.fromkeys(THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run_all(experiments: Sequence[Experiment], workers: int = 0, scheduler: str = "") -> dict[str, dict]:
    """Return the results of experiments by row, cached or computed now; a bar shows the remaining training time.
    workers: processes, 0 for one a core; scheduler: address of a Dask scheduler whose workers train instead. Raises
    `InputError` where no scheduler answers."""
    check_number("workers", workers, 0, 1024, integer=True)
    results = {experiment.row: cached_result(experiment) for experiment in experiments}
    missing = [experiment for experiment in experiments if results[experiment.row] is None]
    if missing:
        with _client(scheduler, min(workers or os.cpu_count() or 1, len(missing))) as client:
            results |= _run(missing, client)
    return results


def _client(scheduler: str, workers: int) -> Client:
    """Return a client of a Dask scheduler, or of worker processes that only this machine reaches."""
    if not scheduler:
        with dask.config.set({"distributed.nanny.pre-spawn-environ": ENVIRONMENT}):
            return Client(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                          memory_limit=0, silence_logs=logging.ERROR)  # fmt: skip
    try:
        return Client(scheduler, timeout=5)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f'no Dask scheduler at {scheduler!r} ({reason}); start one, or leave scheduler=""') from None


def _run(experiments: Sequence[Experiment], client: Client) -> dict[str, dict]:
    results, trained = {}, {}
    total = sum(experiment.settings.training.seconds for experiment in experiments)
    with progress_bar(total=round(total), desc=f"{len(experiments)} rows", unit="s", bar_format=BAR) as bar:

        def show(event: tuple) -> None:
            message = event[1]
            trained[message["identity"]] = min(message["seconds"], message["of"])
            bar.n = round(sum(trained.values()))
            bar.set_postfix_str(f"{len(results)} done, now {message['row']}", refresh=True)

        client.subscribe_topic(TOPIC, show)
        futures = [client.submit(_work, e, own_entries(e.settings), pure=False, retries=1) for e in experiments]
        for _, result in as_completed(futures, with_results=True):
            results[result["row"]] = result
        client.unsubscribe_topic(TOPIC)
    return results


def _work(experiment: Experiment, entries: list[tuple]) -> dict:
    """Run one experiment in a worker and report its progress once a second."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # no warning that each row is compiled again
    for kind, name, entry in entries:
        REGISTRIES[kind][name] = entry
    worker, last = get_worker(), [0.0]

    def report(seconds: float) -> None:
        if time.monotonic() - last[0] > 1:
            last[0] = time.monotonic()
            message = {"identity": experiment.identity, "row": experiment.row, "seconds": seconds}
            worker.log_event(TOPIC, message | {"of": experiment.settings.training.seconds})

    return run_experiment(experiment, report)
