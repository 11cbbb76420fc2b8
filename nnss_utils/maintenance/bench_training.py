"""The cost of training, measured beside the hardware's limits (notebook 11_speed, `make bench`).

Each part runs in its own process (benchmarks.py) and returns numbers that JSON can hold. A round measures everything
once, one after the other, so that a busy machine slows all of it equally; results are medians over rounds.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.fft
import soundfile

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.pair import Pair, load_pair, make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.midi import Note, write_midi
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn
from nnss_utils.model.recurrent import BidirectionalLSTM
from nnss_utils.model.settings import make_settings
from nnss_utils.paths import CACHE
from nnss_utils.scores import scale_sequence
from nnss_utils.training import train as training
from nnss_utils.training.loss_model import prepare
from nnss_utils.training.prefetch import WORKERS, batches_ahead, on_device

MATRIX = 2048  # rows and columns of the product that is the ceiling
COPIED = 2**26  # bytes
FRAMES = 1024  # real FFTs of 2048 samples at a time
BINS = 2048  # inputs and outputs of the double LSTM: 1024 bins, real and imaginary
BATCH = 16


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action took."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def status_mb(field: str) -> float:
    """Return a memory figure of this process from /proc/self/status in MB, e.g. VmHWM (the peak); 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":")), 0.0)


class Ceilings:
    """The machine's own limits: float32 matrix product, memory copy, real FFTs."""

    def __init__(self) -> None:
        """Prepare arrays and run everything once."""
        rng = np.random.default_rng(0)
        self.a, self.b = (ops.convert_to_tensor(rng.random((MATRIX, MATRIX), np.float32)) for _ in range(2))
        self.source, self.copy = np.ones((2, COPIED // 4), np.float32)
        self.frames = rng.random((FRAMES, 2048), np.float32)
        self.measure()

    def product(self, count: int = 6) -> float:
        """Return GFLOP/s of `count` float32 matrix products in a row."""

        def products() -> None:
            for _ in range(count):
                c = ops.matmul(self.a, self.b)
            ops.convert_to_numpy(c[0, 0])

        return count * 2 * MATRIX**3 / timed(products) / 1e9

    def measure(self) -> dict[str, float]:
        """Return all three: GFLOP/s, GB/s (read and written), thousand FFTs a second on one thread."""
        return {
            "product_gflops": self.product(),
            "copy_gb_s": max(2 * COPIED / timed(lambda: np.copyto(self.copy, self.source)) / 1e9 for _ in range(3)),
            "kffts": max(FRAMES / timed(lambda: scipy.fft.rfft(self.frames)) / 1e3 for _ in range(3)),
        }


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every number over the rounds."""
    return {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}


def lstm_model(layer: Callable[[int], nn.Layer], units: int, frames: int) -> keras.Model:
    """Return the method's double LSTM, `layer` for its layers, ready to be trained by Adam."""
    x = inputs = keras.Input(batch_shape=(BATCH, frames, BINS))
    for _ in range(2):
        x = layer(units)(x)
    model = keras.Model(inputs, nn.Dense(BINS)(x))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse", jit_compile=False)
    return model


def lstm_operations(units: int) -> float:
    """Return the floating-point operations of a frame's training: forward, and twice that for the gradients."""
    first, second, out = (BINS + units) * 4 * units, 3 * units * 4 * units, 2 * units * BINS
    return 3 * 2.0 * (2 * first + 2 * second + out)


def keras_lstm(units: int) -> nn.Layer:
    """Return Keras' own bidirectional LSTM."""
    return nn.Bidirectional(nn.LSTM(units, return_sequences=True))


def lstm(units: int, frames: int, rounds: int = 5) -> dict:
    """Measure training of the double LSTM beside Keras' own with the same weights, and how far apart both are."""
    ours, theirs = lstm_model(BidirectionalLSTM, units, frames), lstm_model(keras_lstm, units, frames)
    ours.set_weights(theirs.get_weights())
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((BATCH, frames, BINS), np.float32) for _ in range(2))
    outputs = [ops.convert_to_numpy(model(x)) for model in (ours, theirs)]
    for model in (ours, theirs):  # compiles; the first step's gradients are all that Adam's first moments hold
        model.train_on_batch(x, y)
    moments = [
        [ops.convert_to_numpy(v) for v in model.optimizer.variables if "momentum" in v.path] for model in (ours, theirs)
    ]
    difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*moments, strict=True))
    ceilings, measured = Ceilings(), []
    for _ in range(rounds):
        seconds = {
            "keras": timed(lambda: theirs.train_on_batch(x, y)),
            "ours": timed(lambda: ours.train_on_batch(x, y)),
        }
        measured.append(seconds | ceilings.measure() | {"ratio": seconds["keras"] / seconds["ours"]})
        gflops = lstm_operations(units) * BATCH * frames / seconds["ours"] / 1e9
        measured[-1] |= {"gflops": gflops, "share": gflops / measured[-1]["product_gflops"]}
    result = medians(measured)
    return result | {
        "frames_s": BATCH * frames / result["ours"],
        "keras_frames_s": BATCH * frames / result["keras"],
        "output_difference": float(np.abs(outputs[0] - outputs[1]).max()),
        "gradient_difference": difference,
    }


def small_pair() -> Pair:
    """Return a pair of two minutes with every key, by the sampled piano."""
    return make_pair(scale_sequence(repetitions=1, sustained=0), Steinway())


def network(architecture: str, rounds: int = 8, steps: int = 12) -> dict:
    """Measure a step of an architecture as the project trains it, and what making its batches adds to it."""
    settings = make_settings(architecture=architecture)
    trainer, sampler = prepare(small_pair(), settings)
    kept = on_device(sampler.batch(0))
    for _ in range(2):
        float(trainer.step(kept))
    ceilings, measured, echo = Ceilings(), [], settings.training.echo

    def run(batches: Iterator) -> None:
        for _ in range(steps):
            loss = trainer.step(next(batches))
        float(loss)

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(rounds):
            seconds = timed(lambda: run(repeat(kept))) / steps
            with closing(batches_ahead(pool, sampler, 0, 10**9, echo)) as batches:
                for _ in range(2 * echo):  # the first ones are waited for
                    trainer.step(next(batches))
                piped = (
                    timed(lambda batches=batches: [float(trainer.step(next(batches))) for _ in range(steps)]) / steps
                )
            made = timed(lambda: [sampler.batch(n) for n in range(3)]) / 3 / echo
            measured.append({"step": seconds, "piped": piped, "making": made} | ceilings.measure())
    result = medians(measured)
    t = settings.training
    frames = t.batch * t.frames
    operations, moved = network_work(trainer.network, architecture, settings)
    gflops = operations * frames / result["step"] / 1e9
    return result | {
        "frames_s": frames / result["piped"],
        "pipeline_share": float(np.median([1 - m["step"] / m["piped"] for m in measured])),
        "gflops": gflops,
        "share": float(np.median([operations * frames / m["step"] / 1e9 / m["product_gflops"] for m in measured])),
        "moved_mb": moved / 1e6,
        "copy_share": float(np.median([moved / m["step"] / 1e9 / m["copy_gb_s"] for m in measured])),
    }


def network_work(model: keras.Model, architecture: str, settings) -> tuple[float, float]:
    """Return a step's matrix operations for each frame, and the bytes that it moves at the least.

    Bytes: every weight with its two moments is read and written, its gradient written and read (36 a weight); tone,
    target, masks, and the masks' gradient are written or read once or twice (24 numbers a bin and frame).
    """
    bins, t = settings.spectral.bins, settings.training
    moved = 36.0 * model.count_params() + 4 * 24 * bins * t.batch * t.frames
    if architecture != "mask_keyed":
        return 6.0 * sum(w.shape[0] * w.shape[1] for w in model.trainable_weights if w.path.endswith("kernel")), moved
    dense = sum(w.shape[0] * w.shape[1] for w in model.trainable_weights if w.path.endswith("kernel"))
    curves = next(w.shape[0] * w.shape[1] for w in model.trainable_weights if w.path == "curves/kernel")
    return 6.0 * (dense + curves + settings.network.units * 2 * bins), moved


def length(seconds: int, steps: int = 40) -> dict:
    """Measure start-up, step and memory of training on a recording of `seconds` s, read from a WAV file."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE) as folder:
        midi, wav = Path(folder) / "long.mid", Path(folder) / "long.wav"
        _write_long_pair(seconds, midi, wav)
        begun = time.perf_counter()
        pair, settings = load_pair(midi, wav), make_settings()
        training.fingerprint(settings, pair)
        trainer, sampler = prepare(pair, settings)
        start_up = time.perf_counter() - begun
    take = lambda n: float(trainer.step(on_device(sampler.batch(n))))  # noqa: E731
    take(0)
    taken = [timed(lambda n=n: take(n)) for n in range(1, steps)]
    return {"seconds": seconds, "start_up": start_up, "step": float(np.median(taken)), "peak_mb": status_mb("VmHWM")}


def _write_long_pair(seconds: int, midi: Path, wav: Path) -> None:
    """Write a scale again and again until it lasts `seconds`, as MIDI and 16-bit WAV."""
    pair, notes, at = small_pair(), [], 0
    with soundfile.SoundFile(wav, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while at < seconds * SAMPLE_RATE:
            part = pair.audio[: seconds * SAMPLE_RATE - at]
            file.write(part)
            shift = at / SAMPLE_RATE
            last = len(part) / SAMPLE_RATE
            notes += [Note(n.start + shift, n.end + shift, n.pitch, n.velocity) for n in pair.notes if n.end < last]
            at += len(part)
    write_midi(midi, notes)


def streaming(oversampling: int, steps: int = 3) -> dict:
    """Measure the seed's own configuration (frame_step 1), oversampled or not: frames a second, disk and memory."""
    settings = make_settings(preset="seed", oversampling=oversampling, frame_length=2048 * oversampling)
    trainer, sampler = prepare(small_pair(), settings)
    float(trainer.step(on_device(sampler.batch(0))))
    before = _written()
    made = timed(lambda: sampler.batch(1))
    seconds = timed(lambda: [float(trainer.step(on_device(sampler.batch(n)))) for n in range(steps)]) / steps
    frames = settings.training.batch * settings.training.frames
    return {
        "frames_s": frames / seconds,
        "making_share": made / seconds,
        "disk_mb": (_written() - before) / 1e6,
        "peak_mb": status_mb("VmHWM"),
    }


def _written() -> int:
    """Return the bytes that this process has written to disk; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
