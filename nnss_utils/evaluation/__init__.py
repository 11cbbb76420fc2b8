"""Evaluation: measures of sounds, phases, onsets and frames; baselines, a piece, the test set."""

OCTAVES = (20, 250, 500, 1000, 2000, 4000, 8000, 16000, 20000)  # Hz, edges of the bands that are measured
