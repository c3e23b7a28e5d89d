"""Pure rules of the mesh: orders and their ids, digests and signatures, the life of an intent. No I/O of any kind."""
