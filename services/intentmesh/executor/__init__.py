"""Executor: drives every accepted intent to its end, believing the chains and nobody else."""
