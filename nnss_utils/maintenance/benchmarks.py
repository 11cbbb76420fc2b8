"""`make bench`: training and synthesis against hardware limits, in under ten minutes (notebook 11_speed). Parts that
measure memory or a start have a process of their own. `python -m nnss_utils.maintenance.benchmarks PART ...` measures
only the named parts again. Results: data/results/benchmark.json and img/benchmark.png."""

import contextlib
import importlib
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from nnss_utils.errors import InputError, exit_with, progress_bar
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.paths import IMAGES, RESULTS, read_json, relative, write_json
from nnss_utils.provenance import commit, versions

RESULT = RESULTS / "benchmark.json"
PICTURE = IMAGES / "benchmark.png"
ALONE = ("length", "streaming", "memory", "cold")  # beginnings of the names of parts with a process of their own

# part -> (module, function, arguments) that its process calls
PARTS: dict[str, tuple[str, str, tuple]] = {
    "lstm_256": ("bench_training", "lstm", (256, 128)),
    "lstm_1000": ("bench_training", "lstm", (1000, 64)),
    **{name: ("bench_training", "network", (name,)) for name in ("modal", "mask_dense")},
    "profile": ("bench_training", "profile", ()),
    **{f"length_{seconds}": ("bench_training", "length", (seconds,)) for seconds in (300, 3600, 21600)},
    **{f"streaming_{oversampling}": ("bench_training", "streaming", (oversampling,)) for oversampling in (1, 8)},
    **{f"speed_{score}": ("bench_synthesis", "speed", (score,)) for score in ("performance", "bwv846_prelude")},
    "memory": ("bench_synthesis", "memory", (300, 3600)),
    **{name: ("bench_synthesis", name, ()) for name in ("cost", "one_note", "cold_start")},
}


def main(names: list[str]) -> None:
    """Measure all parts, or the named ones; print the table, keep the numbers and draw them."""
    unknown = set(names) - set(PARTS)
    if unknown:
        raise InputError(f"benchmark has no part {', '.join(sorted(unknown))}; its parts are {', '.join(PARTS)}")
    before = read_json(RESULT) if names and RESULT.is_file() else {"parts": {}}
    parts, started, failures = before["parts"], time.monotonic(), []
    bar = progress_bar(names or list(PARTS), desc="benchmark", unit="part")
    with bar, ProcessPoolExecutor(1, get_context("spawn")) as shared:
        for name in bar:
            bar.set_postfix_str(name)
            try:
                parts[name] = measure(name, None if name.startswith(ALONE) else shared)
            except InputError as failure:  # the other parts still count
                failures.append(str(failure))
    minutes = round((time.monotonic() - started) / 60, 1)
    result = {"machine": machine(), "minutes": before.get("minutes", minutes), "parts": parts}  # minutes of a whole run
    result |= {"versions": versions(), "commit": commit()}
    print(table(result))
    if failures:
        raise InputError("; ".join(failures))
    write_json(RESULT, result)
    from nnss_utils.notebook import charts, plots  # the parts need no matplotlib

    figure, _ = charts.benchmark(result)
    plots.save_figure(figure, PICTURE)
    print(f"{relative(RESULT)}, {relative(PICTURE)}: {minutes} minutes")


def measure(name: str, pool: ProcessPoolExecutor | None = None) -> dict:
    """Return the result of a part, measured in its own process or in `pool`; raises `InputError` if the part fails."""
    module, function, arguments = PARTS[name]
    with contextlib.nullcontext(pool) if pool else ProcessPoolExecutor(1, get_context("spawn")) as used:
        try:
            return used.submit(call, module, function, (time.time(),) if name == "cold_start" else arguments).result()
        except Exception as error:
            raise InputError(f"the part {name} of the benchmark failed: {type(error).__name__}: {error}") from error


def call(module: str, function: str, arguments: tuple) -> dict:
    """Call a function of this room by the names of its module and its own, in the part's process."""
    return getattr(importlib.import_module(f"nnss_utils.maintenance.{module}"), function)(*arguments)


def machine() -> dict:
    """Return the machine that the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "cores": cores, "python": platform.python_version()}


def table(result: dict) -> str:
    """Return a benchmark's numbers as a Markdown table; rows of missing parts are left out."""
    parts, rows = _numbered(result["parts"]), []
    for needed, text, template, aim in _ROWS:
        if all(name in parts for name in needed.split()):
            rows.append([text, template.format(*(parts[name] for name in needed.split())), aim])
    return markdown_table(("", "measured", "aim"), rows)


def _numbered(content: object) -> object:
    """Return JSON's content with whole numbers as keys, which templates read as such."""
    if not isinstance(content, dict):
        return content
    return {int(key) if key.isdigit() else key: _numbered(value) for key, value in content.items()}


def _lstm_rows(units: int, ratio: str, share: str) -> list[tuple[str, str, str, str]]:
    part, name = f"lstm_{units}", f"double BLSTM of {units}, training"
    speeds = "{0[ratio]:.2f} times ({0[frames_s]:.0f} and {0[keras_frames_s]:.0f} frames/s)"
    return [
        (part, f"{name}: over Keras' own", speeds, ratio),
        (part, f"{name}: of the matrix product's ceiling", "{0[share]:.0%}", share),
        (part, f"{name}: largest difference of outputs, of gradients (relative)",
         "{0[output_difference]:.1e}, {0[gradient_difference]:.1e}", "1e-5"),
    ]  # fmt: skip


_NETWORKS = (("modal", "default network (modal)"), ("mask_dense", "mask_dense"))
_NETWORK_ROWS = (
    ("a step alone, with its batches made", "{0[step]:.3f}, {0[piped]:.3f} s", ""),
    ("of the matrix product's ceiling", "{0[share]:.0%} ({0[gflops]:.0f} GFLOP/s)", "65%"),
    ("least memory moved, of the copy's ceiling", "{0[copy_share]:.0%} ({0[moved_mb]:.0f} MB)", ""),
    ("the pipeline's share of a step", "{0[pipeline_share]:.0%}", "10%"),
)
_PARTS = "whole step, network, tone of modes, impulse, normalization and loss, Adam, making a batch"
_PROFILE = "; ".join(f"{name} {{0[{name}]:.3f}} s" for name in _PARTS.split(", "))
_LENGTHS = "length_300 length_3600 length_21600"
_STREAM = "{0[frames_s]:.0f} frames/s, {0[disk_mb]:.1f} MB to disk, {0[peak_mb]:.0f} MB memory"
_TIMES, _DISTINCT = "{0[network]:.0f} times real time", "{0[notes]} notes, {0[distinct]} distinct"
_NOTE = "{0[median_ms]:.0f} ms (worst {0[worst_ms]:.0f}, from the cache {0[remembered_ms]:.1f})"
_START = (
    "{0[total]:.1f} s (imports {0[stages][imports]:.1f}, model file {0[stages][model file]:.1f}, "
    "compiling and the first note {0[stages][compiling and the first note]:.1f}, "
    "ten seconds of sound {0[stages][ten seconds of sound]:.1f})"
)
# parts (0, 1, ... in the template), quantity, template, aim
_ROWS: list[tuple[str, str, str, str]] = [
    ("lstm_256", "ceiling: float32 matrix product", "{0[product_gflops]:.0f} GFLOP/s", ""),
    ("lstm_256", "ceiling: memory copy (read and written)", "{0[copy_gb_s]:.1f} GB/s", ""),
    ("lstm_256", "ceiling: real FFTs of 2048, one thread", "{0[kffts]:.0f} thousand a second", ""),
    *_lstm_rows(256, "1.8 times", "70%"),
    *_lstm_rows(1000, "1.7 times", "80%"),
    *((part, f"{name}: {text}", *cells) for part, name in _NETWORKS for text, *cells in _NETWORK_ROWS),
    ("profile", "default network: a step and its parts, each compiled alone", _PROFILE, ""),
    (_LENGTHS, "training on 5, 60, 360 minutes: a step", "{0[step]:.3f}, {1[step]:.3f}, {2[step]:.3f} s", "equal"),
    (_LENGTHS, "... peak memory", "{0[peak_mb]:.0f}, {1[peak_mb]:.0f}, {2[peak_mb]:.0f} MB", "equal"),
    ("length_3600", "... start-up with an hour (imports and compilation apart)", "{0[start_up]:.1f} s", "5 s"),
    ("streaming_1", "the author's network, frame_step 1", _STREAM, "no disk"),
    ("streaming_8", "the author's network, frame_step 1, 8 times oversampled", _STREAM, "no disk"),
    ("speed_performance", "the performance by the shipped model", f"{_TIMES}; {_DISTINCT}", "40 times"),
    ("speed_performance", "... by fluidsynth", "{0[fluidsynth]:.0f} times real time", "at most 4 times faster"),
    ("speed_bwv846_prelude", "the Bach prelude by the shipped model", f"{_TIMES}; {_DISTINCT}", ""),
    ("speed_bwv846_prelude", "... by fluidsynth", "{0[fluidsynth]:.0f} times real time", ""),
    ("memory", "peak memory of rendering 5 and 60 minutes of the performance",
     "{0[peak_300_mb]:.0f}, {0[peak_3600_mb]:.0f} MB", "1000 MB, equal"),
    ("cost", "a second of 1, 8, 32 voices held for four seconds",
     "{0[polyphony][1]:.3f}, {0[polyphony][8]:.3f}, {0[polyphony][32]:.3f} s", ""),
    ("one_note", "one played note of a second (warmed up)", _NOTE, "30 ms"),
    ("cold_start", "cold start to ten seconds of sound", _START, "12 s"),
]  # fmt: skip


if __name__ == "__main__":
    exit_with(main)
