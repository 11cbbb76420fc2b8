"""`make run`: everything from a bare machine to Bach by a network, each step only where it is not done yet.

`make run PRETRAINED=1` takes the model that the project ships, instead of a pair and a training; `MIDI=PATH`
renders a file of one's own instead of the scores.

The steps are those of the notebooks 01 (pair), 05 (training) and 06 (evaluation), without their explanations.
"""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from nnss_utils import charts, evaluation, plots, training
from nnss_utils.config import make_settings
from nnss_utils.errors import InputError
from nnss_utils.evaluation import piece_name
from nnss_utils.instrument import SampledPiano
from nnss_utils.midi import write_midi
from nnss_utils.modelfile import PRETRAINED, TrainedModel, load_model, run_file
from nnss_utils.pair import Pair, make_pair
from nnss_utils.paths import CACHE, RUNS, read_json, shown
from nnss_utils.scores import SCORES, scale_sequence
from nnss_utils.wav import write_wav


def main(arguments: list[str]) -> None:
    """Make the pair, train, render and measure the pieces by Bach, and say where everything is."""
    parser = argparse.ArgumentParser(prog="python -m nnss_utils.run", description=__doc__)
    parser.add_argument("--pretrained", action="store_true", help="take the model that the project ships")
    parser.add_argument("midi", nargs="*", help="MIDI files to render instead of the project's two scores")
    chosen = parser.parse_args(arguments)
    model = load_model(str(PRETRAINED)) if chosen.pretrained else _trained()
    report({piece_name(midi): evaluate_score(midi, model) for midi in chosen.midi or SCORES})
    if not chosen.pretrained:
        folder = RUNS / model.name
        print(f"model: {shown(run_file(model.name))}; its loss curve: {shown(folder / 'loss.png')}")


def _trained() -> TrainedModel:
    """Return the default model, trained on the default pair unless it is there already."""
    pair = make_scale_pair()
    settings = make_settings()
    if training.is_trained(settings, pair):
        print(f"training: {shown(run_file(settings.name))} is up to date")
        return load_model(settings.name)
    model = training.train(pair, settings)
    figure, _ = charts.loss_curves(read_json(RUNS / settings.name / "training.json"))
    plots.save_figure(figure, RUNS / settings.name / "loss.png")
    return model


def make_scale_pair() -> Pair:
    """Return the default training pair, and keep it as MIDI and WAV for whoever wants to see and hear it."""
    pair = make_pair(scale_sequence(), SampledPiano())
    folder = CACHE / "pairs" / "steinway"
    if not (folder / "scale.wav").is_file():
        write_midi(folder / "scale.mid", pair.notes)
        write_wav(folder / "scale.wav", pair.audio, "float")
    print(f"training pair: {pair.description}: {shown(folder / 'scale.mid')}, {shown(folder / 'scale.wav')}")
    return pair


def evaluate_score(midi: str, model: TrainedModel) -> dict:
    """Return the measures of a score (or a MIDI file), made anew unless they are of it and this very model."""
    name = piece_name(midi)
    path = evaluation.result_file(name)
    if path.is_file() and midi in SCORES:
        result = read_json(path)
        if result["training"] == model.training and (evaluation.RENDERS / name / "prediction.wav").is_file():
            print(f"{name}: {shown(path)} is up to date")
            return result
    piece = evaluation.make_piece(midi, model)
    sounds = evaluation.reference_sounds(piece)
    bar = tqdm(sounds.items(), desc=f"measuring {name} and its references", unit="row")
    references = {name: evaluation.measure_references(piece, {name: sound})[name] for name, sound in bar}
    result = evaluation.evaluate(piece, model, references)
    save_pictures(piece, result)
    return result


def save_pictures(piece: evaluation.Piece, result: dict) -> None:
    """Write a piece's pictures beside its sounds."""
    sounds = {"target": piece.target, "prediction": piece.prediction}
    figures = {
        "spectrograms": plots.compare_spectrograms(sounds)[0],
        "bands": charts.band_bars({"prediction": result, **result["references"]})[0],
        "onset": plots.waveforms(sounds, piece.notes[0].start, 0.06)[0],
    }
    for name, figure in figures.items():
        plots.save_figure(figure, piece.folder / f"{name}.png")
        plt.close(figure)


def report(results: dict[str, dict]) -> None:
    """Print the measures and where sounds, pictures and numbers are."""
    rows = {}
    for score, result in results.items():
        rows[f"{score}: network"] = result
        rows |= {f"{score}: {name}": row for name, row in result["references"].items()}
    print("", evaluation.summary_table(rows), "", evaluation.band_table(results), "", sep="\n")
    for score, result in results.items():
        folder = evaluation.RENDERS / score
        speed = result["seconds"] / result["synthesis_seconds"]
        print(f"{score} ({result['seconds']:.0f} s, synthesized {speed:.1f} times faster than real time)")
        print(f"  sound     {shown(folder / 'prediction.wav')} (network), {shown(folder / 'target.wav')} (instrument)")
        print("  pictures  " + ", ".join(shown(path) for path in sorted(Path(folder).glob("*.png"))))
        print(f"  measures  {shown(evaluation.result_file(score))}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
