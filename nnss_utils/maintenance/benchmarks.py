"""`make bench`: training and synthesis against hardware limits, in under ten minutes (notebook 11_speed).

Every part runs in its own process, one after the other; `python -m nnss_utils.maintenance.benchmarks PART ...` measures
only the named parts again. Results: data/results/benchmark.json and img/benchmark.png.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nnss_utils.errors import InputError, progress_bar
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.paths import IMAGES, RESULTS, ROOT, read_json, relative, write_json
from nnss_utils.provenance import commit, versions

RESULT = RESULTS / "benchmark.json"
PICTURE = IMAGES / "benchmark.png"

# part -> (module, function, arguments) that its process calls
PARTS: dict[str, tuple[str, str, object]] = {
    "lstm_256": ("bench_training", "lstm", (256, 128)),
    "lstm_1000": ("bench_training", "lstm", (1000, 64)),
    "mask_keyed": ("bench_training", "network", ("mask_keyed",)),
    "mask_dense": ("bench_training", "network", ("mask_dense",)),
    "length_300": ("bench_training", "length", (300,)),
    "length_3600": ("bench_training", "length", (3600,)),
    "length_21600": ("bench_training", "length", (21600,)),
    "streaming_1": ("bench_training", "streaming", (1,)),
    "streaming_8": ("bench_training", "streaming", (8,)),
    "speed": ("bench_synthesis", "speed", ()),
    "memory_300": ("bench_synthesis", "memory", (300,)),
    "memory_3600": ("bench_synthesis", "memory", (3600,)),
    "cost": ("bench_synthesis", "cost", ()),
    "one_note": ("bench_synthesis", "one_note", ()),
    "cold_start": ("bench_synthesis", "cold_start", ()),
    "tried": ("bench_synthesis", "tried", ()),
}

_CHILD = """
import json, sys
module, function, arguments = json.loads(sys.argv[1])
result = getattr(__import__("nnss_utils.maintenance." + module, fromlist=[function]), function)(*arguments)
print("RESULT " + json.dumps(result))
"""


def main(names: list[str]) -> None:
    """Measure all parts, or the named ones; print the table, keep the numbers and draw them."""
    unknown = set(names) - set(PARTS)
    if unknown:
        raise InputError(f"benchmark has no part {', '.join(sorted(unknown))}; its parts are {', '.join(PARTS)}")
    before = read_json(RESULT) if names and RESULT.is_file() else {"parts": {}}
    parts = before["parts"]
    begun, failures = time.monotonic(), []
    with progress_bar(names or list(PARTS), desc="benchmark", unit="part") as bar:
        for name in bar:
            bar.set_postfix_str(name)
            try:
                parts[name] = measure(name)
            except InputError as failure:  # the other parts still count
                failures.append(str(failure))
    minutes = round((time.monotonic() - begun) / 60, 1)
    result = {
        "machine": machine(),
        "minutes": before.get("minutes", minutes),  # of a whole run
        "parts": parts,
        "versions": versions(),
        "commit": commit(),
    }
    print(table(result))
    if failures:
        raise InputError("; ".join(failures))
    write_json(RESULT, result)
    from nnss_utils.notebook import charts, plots  # the parts need no matplotlib

    figure, _ = charts.benchmark(result)
    plots.save_figure(figure, PICTURE)
    print(f"{relative(RESULT)}, {relative(PICTURE)}: {minutes} minutes")


def measure(name: str) -> dict:
    """Return the result of a part, measured in its own process."""
    module, function, arguments = PARTS[name]
    if name == "cold_start":
        arguments = (time.time(),)
    command = [sys.executable, "-c", _CHILD, json.dumps([module, function, arguments])]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    if run.returncode or not lines:
        reason = (run.stderr.strip().splitlines() or ["no result"])[-1]
        raise InputError(f"the part {name} of the benchmark failed: {reason}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def machine() -> dict:
    """Return what the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "cores": cores, "python": platform.python_version()}


Row = tuple[str, str, str]  # quantity, value, aim


def table(result: dict) -> str:
    """Return a benchmark's numbers as a Markdown table; missing parts are left out."""
    parts, lines = result["parts"], []
    for needed, rows in _ROWS:
        if all(name in parts for name in needed):
            lines += rows(*(parts[name] for name in needed))
    return markdown_table(("", "measured", "aim"), lines)


def _ceiling_rows(lstm: dict) -> list[Row]:
    return [
        ("ceiling: float32 matrix product", f"{lstm['product_gflops']:.0f} GFLOP/s", ""),
        ("ceiling: memory copy (read and written)", f"{lstm['copy_gb_s']:.1f} GB/s", ""),
        ("ceiling: real FFTs of 2048, one thread", f"{lstm['kffts']:.0f} thousand a second", ""),
    ]


def _lstm_rows(units: int, ratio: float, share: int) -> Callable[[dict], list[Row]]:
    def rows(p: dict) -> list[Row]:
        name = f"double BLSTM of {units}, training"
        speeds = f"{p['frames_s']:.0f} and {p['keras_frames_s']:.0f} frames/s"
        apart = f"{p['output_difference']:.1e}, {p['gradient_difference']:.1e}"
        return [
            (f"{name}: over Keras' own", f"{p['ratio']:.2f} times ({speeds})", f"{ratio} times"),
            (f"{name}: of the matrix product's ceiling", f"{100 * p['share']:.0f} %", f"{share} %"),
            (f"{name}: largest difference of outputs, of gradients (relative)", apart, "1e-5"),
        ]

    return rows


def _network_rows(name: str) -> Callable[[dict], list[Row]]:
    def rows(p: dict) -> list[Row]:
        work = f"{100 * p['share']:.0f} % ({p['gflops']:.0f} GFLOP/s)"
        return [
            (f"{name}: a step alone, with its batches made", f"{1e3 * p['step']:.0f}, {1e3 * p['piped']:.0f} ms", ""),
            (f"{name}: of the matrix product's ceiling", work, "65 %"),
            (f"{name}: least memory moved, of the copy's ceiling",
             f"{100 * p['copy_share']:.0f} % ({p['moved_mb']:.0f} MB a step)", ""),
            (f"{name}: the pipeline's part of a step", f"{100 * p['pipeline_share']:.0f} %", "10 %"),
        ]  # fmt: skip

    return rows


def _length_rows(*parts: dict) -> list[Row]:
    lengths = ", ".join(f"{p['seconds'] / 60:.0f}" for p in parts)
    hour = next(p for p in parts if p["seconds"] == 3600)
    return [
        (f"training on {lengths} minutes: a step", ", ".join(f"{1e3 * p['step']:.0f}" for p in parts) + " ms", "equal"),
        ("... peak memory", ", ".join(f"{p['peak_mb']:.0f}" for p in parts) + " MB", "equal"),
        ("... start-up with an hour (imports and compilation apart)", f"{hour['start_up']:.1f} s", "5 s"),
    ]


def _streaming_rows(plain: dict, finer: dict) -> list[Row]:
    both = (("frame_step 1", plain), ("frame_step 1, 8 times oversampled", finer))
    return [
        (f"the seed's network, {name}", f"{p['frames_s']:.0f} frames/s, {p['disk_mb']:.1f} MB to disk, "
         f"{p['peak_mb']:.0f} MB memory", "no disk") for name, p in both
    ]  # fmt: skip


def _speed_rows(p: dict) -> list[Row]:
    rows = [("the Bach prelude by the shipped model", f"{p['network']:.0f} times real time", "20 times")]
    if "fluidsynth" in p:
        ratio = p["fluidsynth"] / p["network"]
        rows.append(("... fluidsynth", f"{p['fluidsynth']:.0f} times real time: {ratio:.1f} times faster", "4 times"))
    return rows


def _memory_rows(short: dict, long: dict) -> list[Row]:
    peaks = f"{short['peak_mb']:.0f}, {long['peak_mb']:.0f} MB"
    return [("peak memory of rendering 5 and 60 minutes", peaks, "1000 MB, equal")]


def _note_rows(p: dict) -> list[Row]:
    times = f"{p['median_ms']:.0f} ms (worst {p['worst_ms']:.0f}, remembered {p['remembered_ms']:.1f})"
    return [(f"one played note of a second (after {p['warm_up']:.1f} s of warming up)", times, "50 ms")]


def _start_rows(p: dict) -> list[Row]:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in p["stages"].items())
    return [("cold start to ten seconds of sound", f"{p['total']:.1f} s ({stages})", "12 s")]


def _tried_rows(p: dict) -> list[Row]:
    return [(f"the network's forward pass: {name}", f"{ms:.1f} ms for 1000 frames", "") for name, ms in p.items()]


_ROWS: list[tuple[tuple[str, ...], Callable[..., list[Row]]]] = [
    (("lstm_256",), _ceiling_rows),
    (("lstm_256",), _lstm_rows(256, 1.8, 70)),
    (("lstm_1000",), _lstm_rows(1000, 1.7, 80)),
    (("mask_keyed",), _network_rows("default network (mask_keyed)")),
    (("mask_dense",), _network_rows("mask_dense")),
    (("length_300", "length_3600", "length_21600"), _length_rows),
    (("streaming_1", "streaming_8"), _streaming_rows),
    (("speed",), _speed_rows),
    (("memory_300", "memory_3600"), _memory_rows),
    (("one_note",), _note_rows),
    (("cold_start",), _start_rows),
    (("tried",), _tried_rows),
]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
