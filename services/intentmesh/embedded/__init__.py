"""The parts a whole mesh on one machine is made of: PostgreSQL, Valkey, Anvil chains and Envoy, all of them real.

Every part is a `Part`: it starts, it stops and leaves nothing behind, and it says when it cannot be kept running.
"""
