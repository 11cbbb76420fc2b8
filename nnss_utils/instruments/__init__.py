"""Instruments: notes in, 44.1 kHz mono sound out; and training pairs, aligned and checked."""
