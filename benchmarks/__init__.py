"""Speed, measured: `python -m benchmarks` (points) and `python -m benchmarks.adaptive` (how many points)."""
