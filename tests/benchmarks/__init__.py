"""Benchmarks: `make bench`, or `make bench BENCH=NAME` for one. Results land in build/bench/NAME.jsonl."""
