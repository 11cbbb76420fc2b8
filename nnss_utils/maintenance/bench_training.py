"""The cost of training beside the hardware's limits (notebook 11_speed, `make bench`). benchmarks.py calls
each part, which returns numbers that JSON can hold. A round measures everything once, one after the other, so that a
busy machine slows all of it equally; results are medians over rounds."""

import math
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.fft
import soundfile

from nnss_utils import SAMPLE_RATE
from nnss_utils.instruments.modes import MODES
from nnss_utils.instruments.pair import Pair, load_pair, make_pair
from nnss_utils.instruments.steinway import Steinway
from nnss_utils.midi import Note, moved, write_midi
from nnss_utils.model import forward, time_basis
from nnss_utils.model.backend import keras, ops
from nnss_utils.model.backend import layers as nn
from nnss_utils.model.networks import impulse_bands
from nnss_utils.model.pairs import denormalize_pairs, normalize_pairs
from nnss_utils.model.recurrent import BidirectionalLSTM
from nnss_utils.model.settings import Settings, make_settings
from nnss_utils.paths import CACHE
from nnss_utils.provenance import peak_memory
from nnss_utils.scores import scale_sequence
from nnss_utils.training import train as training
from nnss_utils.training.dataset import Batch, Dataset
from nnss_utils.training.loss_model import LossModel, prepare
from nnss_utils.training.prefetch import WORKERS, batches_ahead, on_device

MATRIX, PRODUCTS = 2048, 4  # rows and columns of the products that are the ceiling, and their number
COPIED = 2**26  # bytes
FRAMES = 1024  # real FFTs of 2048 samples at a time
BINS = 2048  # inputs and outputs of the double LSTM: 1024 bins, real and imaginary
BATCH = 16


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_turns(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each action over `rounds`, after a first round that only warms up."""
    return medians([{name: timed(action) for name, action in actions.items()} for _ in range(1 + rounds)][1:])


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of every number over the rounds."""
    return {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}


def ceilings() -> dict[str, float]:
    """Return the machine's own limits: GFLOP/s of float32 products, GB/s copied, thousand FFTs a second on one thread.
    A copied byte counts twice: it is read and written."""
    rng = np.random.default_rng(0)
    a, b = (ops.convert_to_tensor(rng.random((MATRIX, MATRIX), np.float32)) for _ in range(2))
    source, copy = np.ones((2, COPIED // 4), np.float32)
    frames = rng.random((FRAMES, 2048), np.float32)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            c = ops.matmul(a, b)
        ops.convert_to_numpy(c[0, 0])

    return {
        "product_gflops": PRODUCTS * 2 * MATRIX**3 / min(timed(multiply) for _ in range(2)) / 1e9,
        "copy_gb_s": 2 * COPIED / min(timed(lambda: np.copyto(copy, source)) for _ in range(4)) / 1e9,
        "kffts": FRAMES / min(timed(lambda: scipy.fft.rfft(frames)) for _ in range(4)) / 1e3,
    }


def shares(gflops: float) -> dict[str, float]:
    """Return a speed in GFLOP/s, its share of the matrix product's, and the ceilings as they are now."""
    limits = ceilings()
    return limits | {"gflops": gflops, "share": gflops / limits["product_gflops"]}


def lstm_model(layer: Callable[[int], nn.Layer], units: int, frames: int) -> keras.Model:
    """Return the method's double LSTM, `layer` for its layers, ready to be trained by Adam."""
    x = inputs = keras.Input(batch_shape=(BATCH, frames, BINS))
    for _ in range(2):
        x = layer(units)(x)
    model = keras.Model(inputs, nn.Dense(BINS)(x))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse", jit_compile=False)
    return model


def operations(model: keras.Model) -> float:
    """Return the floating-point operations of a frame's training: six for each weight of a matrix product. A weight is
    multiplied and added once forward, and twice for the gradients."""
    return 6.0 * sum(math.prod(w.shape) for w in model.trainable_weights if w.path.endswith("kernel"))


def keras_lstm(units: int) -> nn.Layer:
    """Return Keras' own bidirectional LSTM."""
    return nn.Bidirectional(nn.LSTM(units, return_sequences=True))


def lstm(units: int, frames: int, rounds: int = 3) -> dict:
    """Measure training of the double LSTM beside Keras' own with the same weights, and their largest differences."""
    ours, theirs = models = [lstm_model(layer, units, frames) for layer in (BidirectionalLSTM, keras_lstm)]
    ours.set_weights(theirs.get_weights())
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((BATCH, frames, BINS), np.float32) for _ in range(2))
    outputs = [ops.convert_to_numpy(model(x)) for model in models]
    for model in models:  # compiles; after one step Adam's first moments are the gradients
        model.train_on_batch(x, y)
    moments = [[ops.convert_to_numpy(v) for v in m.optimizer.variables if "momentum" in v.path] for m in models]
    gflop, measured = operations(theirs) * BATCH * frames / 1e9, []
    for _ in range(rounds):
        taken = {"keras": timed(lambda: theirs.train_on_batch(x, y)), "ours": timed(lambda: ours.train_on_batch(x, y))}
        measured.append(taken | shares(gflop / taken["ours"]) | {"ratio": taken["keras"] / taken["ours"]})
    result = medians(measured)
    return result | {
        "frames_s": BATCH * frames / result["ours"],
        "keras_frames_s": BATCH * frames / result["keras"],
        "output_difference": float(np.abs(outputs[0] - outputs[1]).max()),
        "gradient_difference": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*moments, strict=True)),
    }


def small_pair() -> Pair:
    """Return a pair of two minutes with every key, by the sampled piano."""
    return make_pair(scale_sequence(repetitions=1, sustained=0), Steinway())


def network(architecture: str, rounds: int = 3, steps: int = 12) -> dict:
    """Measure a step of an architecture as the project trains it, and the time that making its batches adds."""
    settings = make_settings(architecture=architecture)
    model, dataset = prepare(small_pair(), settings)
    echo, frames = settings.training.echo, settings.training.batch * settings.training.frames
    work, moved = network_work(model.network, architecture, settings)
    kept, measured = on_device(dataset.batch(0)), []

    def take_steps(batches: Iterable[Batch]) -> None:
        *_, last = (model.step(batch) for batch in batches)
        float(last)  # waits for all of them

    take_steps([kept, kept])
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(rounds):
            step = timed(lambda: take_steps([kept] * steps)) / steps
            with closing(batches_ahead(pool, dataset, 0, 10**9, echo)) as batches:
                take_steps(islice(batches, 2 * echo))  # training waits for the first ones
                piped = timed(lambda: [float(model.step(batch)) for batch in islice(batches, steps)]) / steps
            making = timed(lambda: [dataset.batch(n) for n in range(3)]) / 3 / echo
            taken = {"step": step, "piped": piped, "making": making, "pipeline_share": 1 - step / piped}
            measured.append(taken | shares(work * frames / step / 1e9))
            measured[-1]["copy_share"] = moved / step / 1e9 / measured[-1]["copy_gb_s"]
    result = medians(measured)
    return result | {"frames_s": frames / result["piped"], "moved_mb": moved / 1e6}


def profile(rounds: int = 5) -> dict[str, float]:
    """Measure the parts of the default network's training step, each compiled on its own, forward and gradients, in
    seconds: their sum exceeds the step, which shares what they have in common."""
    import tensorflow

    settings = make_settings()
    model, dataset = prepare(small_pair(), settings)
    batch, power, spectral = on_device(dataset.batch(0)), settings.training.power, settings.spectral
    x, weights, optimizer = batch.inputs, model.network.trainable_variables, model.optimizer
    heard = [x[name] for name in ("features", "attack", "row")]
    gains, mask, off, damping = (tensorflow.constant(part) for part in model.network(heard))
    gradients, target = [tensorflow.ones_like(weight) for weight in weights], tensorflow.constant(batch.target)

    def with_gradients(function: Callable, *of) -> Callable:
        def compute():
            with tensorflow.GradientTape() as tape:
                tape.watch([x for x in of if isinstance(x, tensorflow.Tensor)])  # variables are watched anyway
                total = tensorflow.add_n([tensorflow.reduce_sum(ops.square(y)) for y in function(*of)])
            return [tensorflow.convert_to_tensor(g) for g in tape.gradient(total, of) if g is not None]

        return tensorflow.function(compute, jit_compile=True)

    parts = {
        "network": with_gradients(lambda *_: model.network(heard), *(weight.value for weight in weights)),
        "tone of modes": with_gradients(
            lambda g: [forward.tone_spectra(denormalize_pairs(g, power), damping, x, spectral)], gains
        ),
        "impulse": with_gradients(lambda m: [forward.impulse_spectra(m, off, x, settings)], mask),
        "normalization and loss": with_gradients(
            lambda y: [normalize_pairs(y, power, model.floor) - normalize_pairs(batch.target, power)], target
        ),
        "Adam": tensorflow.function(lambda: optimizer.apply(gradients, weights), jit_compile=True),
        "whole step": lambda: float(model.step(batch)),
        "making a batch": lambda: dataset.batch(1),
    }
    return in_turns(parts, rounds)


def network_work(model: keras.Model, architecture: str, settings: Settings) -> tuple[float, float]:
    """Return a step's matrix operations for each frame, and the bytes that it moves at the least. Bytes: every weight
    with its two moments is read and written, its gradient written and read (36 a weight); tone, target, masks, and the
    masks' gradient are written or read once or twice (24 numbers a bin and frame)."""
    bins, units, t = settings.spectral.bins, settings.network.units, settings.training
    moved = 36.0 * model.count_params() + 4 * 24 * bins * t.batch * t.frames
    times, tables, carriers = time_basis.SINCE_ON.count, 0, 0
    if architecture == "mask_keyed":
        tables = times * 2 * units + units * 2 * bins  # the key's own curves and its masks
    elif architecture == "modal":
        tables = times * 2 * MODES
        for name, curves, width in impulse_bands(units, bins):
            tables += curves * (times + (0 if name == "low" else time_basis.ATTACK.count) + width)
        carriers = 2 * MODES * settings.spectral.frame_length  # no weights: no gradients of them
    return operations(model) + 6.0 * tables + 4.0 * carriers, moved


def train_on(model: LossModel, dataset: Dataset, number: int) -> None:
    """Make a batch, take a training step with it, and wait for both."""
    float(model.step(on_device(dataset.batch(number))))


def length(seconds: int) -> dict:
    """Measure start-up, step and memory of training on a recording of `seconds` s, read from a WAV file."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE) as folder:
        midi, wav = Path(folder) / "long.mid", Path(folder) / "long.wav"
        _write_long_pair(seconds, midi, wav)
        started = time.perf_counter()
        pair, settings = load_pair(midi, wav), make_settings()
        training.fingerprint(settings, pair)
        model, dataset = prepare(pair, settings)
        start_up = time.perf_counter() - started
    _, *taken = (timed(lambda n=n: train_on(model, dataset, n)) for n in range(20))  # the first one compiles
    return {"seconds": seconds, "start_up": start_up, "step": float(np.median(taken)), "peak_mb": peak_memory() / 2**20}


def _write_long_pair(seconds: int, midi: Path, wav: Path) -> None:
    """Write a repeated scale of `seconds` s, as MIDI and 16-bit WAV."""
    pair = small_pair()
    samples = seconds * SAMPLE_RATE
    with soundfile.SoundFile(wav, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for at in range(0, samples, len(pair.audio)):
            file.write(pair.audio[: samples - at])
    write_midi(midi, repeated(pair.notes, len(pair.audio) / SAMPLE_RATE, seconds))


def repeated(notes: Sequence[Note], lasts: float, seconds: float) -> list[Note]:
    """Return notes again every `lasts` s, those that end within `seconds`."""
    later = (moved(notes, np.full(len(notes), i * lasts)) for i in range(int(seconds / lasts) + 1))
    return [note for again in later for note in again if note.end <= seconds]


def streaming(oversampling: int) -> dict:
    """Measure the seed's own configuration (frame_step 1), oversampled or not: frames a second, disk and memory."""
    settings = make_settings(preset="seed", oversampling=oversampling, frame_length=2048 * oversampling)
    model, dataset = prepare(small_pair(), settings)
    train_on(model, dataset, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_oublock
    made = timed(lambda: dataset.batch(1))
    seconds = timed(lambda: [train_on(model, dataset, n) for n in range(3)]) / 3
    blocks = resource.getrusage(resource.RUSAGE_SELF).ru_oublock - before  # of 512 bytes
    return {
        "frames_s": settings.training.batch * settings.training.frames / seconds,
        "making_share": made / seconds,
        "disk_mb": blocks * 512 / 1e6,
        "peak_mb": peak_memory() / 2**20,
    }
