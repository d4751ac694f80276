"""Measurements that anyone can repeat: `python -m benchmarks.NAME`.

Each prints one table; `python -m benchmarks.all` makes all of them and the report in
docs/performance.md. `harness` holds what they share, `peers` builds the same network, from one line
of text, in each framework.
"""
