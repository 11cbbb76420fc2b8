"""What keeps the project up to date: the run of the notebooks, benchmarks, tables, reproduction, the shipped model."""
