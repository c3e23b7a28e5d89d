"""The reference solver: quotes from static prices, pays from its own inventory, opens, fills, proves and finalises.

It has no privileged access to the mesh: it meets the registry and the executor only through `protos/`.
"""
