"""The parts of ``benchmarks/compare.py``: data, problems, solvers, clocks, certificates, tables."""
