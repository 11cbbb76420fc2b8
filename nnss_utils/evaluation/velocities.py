"""Velocities that a network never heard, on the keys that it heard, against a crossfade of the nearest two that it
heard (notebook 15_velocities). `python -m nnss_utils.evaluation.velocities MODEL VELOCITY ...` keeps
data/results/velocities/MODEL.json."""

from collections.abc import Iterable, Sequence

import numpy as np

from nnss_utils import SAMPLE_RATE
from nnss_utils.errors import InputError, exit_with, progress_bar
from nnss_utils.evaluation.metrics import ratio_db
from nnss_utils.evaluation.single_notes import note_energies
from nnss_utils.evaluation.stretched import StretchedSampler
from nnss_utils.evaluation.tables import markdown_table
from nnss_utils.instruments.load import load_instrument
from nnss_utils.midi import Note
from nnss_utils.model.model_file import TrainedModel, load_model
from nnss_utils.paths import RESULTS, relative, write_json
from nnss_utils.provenance import commit, data_digests, versions
from nnss_utils.synthesis.voice import VoiceRenderer

SECONDS = 3.0  # that notes are held
LOUDNESS = 0.3  # s of a note whose energy is its loudness
DARKER = -0.1  # %, of the centroid from a velocity to the next: less is rounding
HEADS = ["velocity", "network, dB", "crossfade, dB", "worst note: network", "crossfade"]


def measure_velocities(model: TrainedModel, velocities: Iterable[int]) -> dict[str, dict]:
    """Return by velocity the SNR (dB) of each heard key by "network" and by "sampler", which crossfades the heard
    velocities. Raises `InputError` for a model that tells no velocities apart."""
    if not model.heard.dynamics:
        raise InputError(f"the model {model.name} tells no velocities apart: train one with -p velocities 40,80,120")
    keys, instrument, renderer = model.training["keys"], load_instrument(model.instrument), VoiceRenderer(model)
    sampler, rows = StretchedSampler(instrument, keys, model.heard.dynamics.velocities), {}
    for velocity in progress_bar(sorted(velocities), desc="velocities"):
        notes = [Note(0.0, SECONDS, key, velocity) for key in keys]
        targets = [instrument.render([note]) for note in notes]
        rows[str(velocity)] = {
            name: [ratio_db(*note_energies(*pair)) for pair in zip(targets, map(voice, notes), strict=True)]
            for name, voice in (("network", renderer.render), ("sampler", sampler.voice))
        } | {"data": data_digests(notes, np.concatenate(targets))}
    return rows


def touch(model: TrainedModel, pitch: int, renderer: VoiceRenderer) -> np.ndarray:
    """Return loudness in dB and spectral centroid in Hz of a key's beginning at velocities 1 to 127, (127, 2)."""
    sounds = (renderer.render(Note(0.0, LOUDNESS, pitch, velocity)) for velocity in range(1, 128))
    spectra = [np.abs(np.fft.rfft(sound[: round(LOUDNESS * SAMPLE_RATE)])) ** 2 for sound in sounds]
    hz = np.fft.rfftfreq(round(LOUDNESS * SAMPLE_RATE), 1 / SAMPLE_RATE)
    return np.array([[10 * np.log10(power.sum()), power @ hz / power.sum()] for power in spectra])


def measure_touch(model: TrainedModel) -> dict[str, dict]:
    """Return by pitch the least and the largest step from a velocity to the next, of loudness (dB) and of the centroid
    (%)."""
    renderer, rows = VoiceRenderer(model), {}
    for pitch in progress_bar(range(model.low, model.high + 1), desc="keys"):
        loudness, centroid = touch(model, pitch, renderer).T
        steps = np.diff(loudness), 100 * np.diff(np.log(centroid))
        names = "loudness_db", "centroid_percent"
        rows[str(pitch)] = {name: [float(x.min()), float(x.max())] for name, x in zip(names, steps, strict=True)}
    return rows


def velocity_table(rows: dict[str, dict]) -> str:
    """Return the means and the worst notes of each velocity as Markdown."""
    lines = []
    for velocity, row in rows.items():
        parts = [f"{value(row[name]):.1f}" for value in (np.mean, np.min) for name in ("network", "sampler")]
        lines.append([velocity, *parts])
    return markdown_table(HEADS, lines)


def touch_sentence(rows: dict[str, dict]) -> str:
    """Return in words how loudness and centroid change from a velocity to the next."""
    loudness, centroid = (
        np.array([row[name] for row in rows.values()]) for name in ("loudness_db", "centroid_percent")
    )
    falls = f"{np.sum(loudness[:, 0] < 0)} become softer somewhere, {np.sum(centroid[:, 0] < DARKER)} darker"
    return (
        f"of {len(rows)} keys {falls}; from a velocity to the next loudness changes by {loudness.min():+.2f} to "
        f"{loudness.max():+.2f} dB, the centroid by {centroid.min():+.1f} to {centroid.max():+.1f} %"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure a model that has heard some velocities, keep the measures and print their table."""
    if len(arguments) < 2 or not all(velocity.isdigit() and 1 <= int(velocity) <= 127 for velocity in arguments[1:]):
        raise InputError("give one model and velocities; usage: python -m nnss_utils.evaluation.velocities MODEL 50 60")
    model = load_model(arguments[0])
    rows = measure_velocities(model, {int(velocity) for velocity in arguments[1:]})
    keys = measure_touch(model)
    file = RESULTS / "velocities" / f"{model.name}.json"
    made = {"data": next(iter(rows.values()))["data"], "versions": versions(), "commit": commit()}
    content = {"model": model.name, "training": model.training, "velocities": rows, "keys": keys}
    write_json(file, content | made)
    print(f"{velocity_table(rows)}\n\n{touch_sentence(keys)}\n\nmeasures: {relative(file)}")


if __name__ == "__main__":
    exit_with(main)
