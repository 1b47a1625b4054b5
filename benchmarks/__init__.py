"""Measurements of this package against others, each a page of docs/benchmarks."""
