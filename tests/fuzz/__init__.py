"""The fuzzer: damaged, hostile and half-valid calls to every RPC of every service, and an oracle over the answers.

`make fuzz` runs it against a mesh of its own; `python -m tests.fuzz --help` lists what it can be told.
"""
