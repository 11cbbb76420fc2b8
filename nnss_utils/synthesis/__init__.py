"""Synthesis: notes to sound by a trained network, in blocks that don't grow with the piece."""
