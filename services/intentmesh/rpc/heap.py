"""What the C allocator holds, as metrics, for what gRPC and other code in C takes from it.

Such code leaks where `used` grows and RSS with it; the heap is fragmented where `free` grows. Small Python objects are
not in it: Python maps their arenas itself, so that a leak of those shows in RSS alone.
"""

import ctypes
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of malloc.h; bytes and counts of all arenas together, see mallinfo(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


class HeapCollector(Collector):
    """`process_heap_used_bytes` and `process_heap_free_bytes`; nothing unless the C library is glibc 2.33 or newer."""

    def __init__(self) -> None:
        self._mallinfo2 = _find_mallinfo2()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._mallinfo2 is None:
            return
        info = self._mallinfo2()
        # Large blocks are mapped one by one and go back to the system when they are freed.
        yield GaugeMetricFamily(
            "process_heap_used_bytes", "Given out by the C allocator", value=info.uordblks + info.hblkhd
        )
        yield GaugeMetricFamily(
            "process_heap_free_bytes", "Kept by the C allocator for requests to come", value=info.fordblks
        )


def _find_mallinfo2() -> Callable[[], _Mallinfo2] | None:
    try:
        found = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    found.restype = _Mallinfo2
    found.argtypes = ()
    call: Callable[[], _Mallinfo2] = found
    return call
