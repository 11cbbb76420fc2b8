"""Evaluation: measures, baselines, a piece, the test set, and what phases, onsets and frames do."""
