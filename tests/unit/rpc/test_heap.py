"""The allocator's figures follow what a process asks for and gives back."""

import ctypes

import pytest
from intentmesh.rpc.heap import HeapCollector

# Below the size from which the allocator maps blocks one by one.
BLOCK, BLOCKS = 60_000, 500


def _heap() -> dict[str, float]:
    return {sample.name: sample.value for family in HeapCollector().collect() for sample in family.samples}


def test_heap__blocks_taken_and_given_back__move_from_used_to_free() -> None:
    before = _heap()
    if not before:
        pytest.skip("this C library has no mallinfo2")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    libc.free.restype, libc.free.argtypes = None, (ctypes.c_void_p,)
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    # The last one stays, so that the others are not at the heap's end and given back to the system.
    taken = _heap()
    for block in blocks[:-1]:
        libc.free(block)
    given_back = _heap()
    libc.free(blocks[-1])
    size = BLOCK * BLOCKS
    assert taken["process_heap_used_bytes"] - before["process_heap_used_bytes"] == pytest.approx(size, rel=0.05)
    assert taken["process_heap_used_bytes"] - given_back["process_heap_used_bytes"] == pytest.approx(size, rel=0.05)
    assert given_back["process_heap_free_bytes"] - taken["process_heap_free_bytes"] == pytest.approx(size, rel=0.05)
