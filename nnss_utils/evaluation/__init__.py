"""Evaluation: measures, baselines, a piece, the test set, and measures of phases, onsets and frames."""
