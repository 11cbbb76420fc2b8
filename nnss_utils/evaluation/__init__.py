"""Evaluation: measures of sounds, phases, onsets and frames; baselines, a piece, the test set."""
