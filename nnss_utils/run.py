"""`make run`: everything from a bare machine to Bach by a network, each step only where it is not done yet.

The steps are those of the notebooks 01 (pair), 05 (training) and 06 (evaluation), without their explanations.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from nnss_utils import evaluation, plots, training
from nnss_utils.config import make_settings
from nnss_utils.errors import InputError
from nnss_utils.instrument import SampledPiano
from nnss_utils.midi import write_midi
from nnss_utils.modelfile import TrainedModel, load_model, run_file
from nnss_utils.pair import Pair, make_pair
from nnss_utils.paths import CACHE, RUNS, read_json, shown
from nnss_utils.scores import SCORES, scale_sequence
from nnss_utils.wav import write_wav


def main() -> None:
    """Make the pair, train, render and measure the pieces by Bach, and say where everything is."""
    pair = make_scale_pair()
    settings = make_settings()
    if training.is_trained(settings, pair):
        print(f"training: {shown(run_file(settings.name))} is up to date")
        model = load_model(settings.name)
    else:
        model = training.train(pair, settings)
        figure, _ = plots.loss_curves(read_json(RUNS / settings.name / "training.json"))
        plots.save_figure(figure, RUNS / settings.name / "loss.png")
    report({score: evaluate_score(score, model) for score in SCORES})
    print(f"model: {shown(run_file(settings.name))}; its loss curve: {shown(RUNS / settings.name / 'loss.png')}")


def make_scale_pair() -> Pair:
    """Return the default training pair, and keep it as MIDI and WAV for whoever wants to see and hear it."""
    pair = make_pair(scale_sequence(), SampledPiano())
    folder = CACHE / "pairs" / "steinway"
    if not (folder / "scale.wav").is_file():
        write_midi(folder / "scale.mid", pair.notes)
        write_wav(folder / "scale.wav", pair.audio, "float")
    print(f"training pair: {pair.description}: {shown(folder / 'scale.mid')}, {shown(folder / 'scale.wav')}")
    return pair


def evaluate_score(score: str, model: TrainedModel) -> dict:
    """Return a score's measures, made anew unless they are of this very model."""
    path = evaluation.result_file(score)
    if path.is_file():
        result = read_json(path)
        if result["training"] == model.training and (evaluation.RENDERS / score / "prediction.wav").is_file():
            print(f"{score}: {shown(path)} is up to date")
            return result
    piece = evaluation.make_piece(score, model)
    sounds = evaluation.reference_sounds(piece)
    bar = tqdm(sounds.items(), desc=f"measuring {score} and its references", unit="row")
    references = {name: evaluation.measure_references(piece, {name: sound})[name] for name, sound in bar}
    result = evaluation.evaluate(piece, model, references)
    save_pictures(piece, result)
    return result


def save_pictures(piece: evaluation.Piece, result: dict) -> None:
    """Write a piece's pictures beside its sounds."""
    sounds = {"target": piece.target, "prediction": piece.prediction}
    figures = {
        "spectrograms": plots.compare_spectrograms(sounds)[0],
        "bands": plots.band_bars({"prediction": result, **result["references"]})[0],
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
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
