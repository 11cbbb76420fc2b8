"""Maintenance of the project: the run of the notebooks, benchmarks, tables, reproduction, the shipped model."""
