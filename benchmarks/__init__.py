"""Benchmarks of LeanRisk: each a module with `run(preset, progress) -> Outcome`, started by `leanrisk bench NAME`."""
