"""What the benchmarks share: options, networks, turns, tables."""
