"""A leak, a bug that nobody was told of and a call left behind are seen in what the servers show of themselves."""

from dataclasses import replace

import pytest

from tests.fuzz.surface import Door
from tests.fuzz.watching import Sample, bugs_of, calls_in_flight, free_bytes_of, growth_per_input, memory_faults

MIB = 2**20


def _campaign(inputs: int, share: float, leaked_bytes: float, warm_up_bytes: int = 40 * MIB) -> list[Sample]:
    """Of one server that gets a share of all inputs and keeps so many bytes of each of them."""
    samples = []
    for sent in range(0, inputs + 1, 5_000):
        received = int(sent * share)
        # Pages come and go.
        noise = (sent // 5_000 % 3 - 1) * MIB // 2
        warm = warm_up_bytes * min(1.0, sent / (0.3 * inputs))
        samples.append(
            Sample(
                sent, {Door.STATUS: received}, {Door.STATUS: int(100 * MIB + warm + leaked_bytes * received + noise)}
            )
        )
    return samples


@pytest.mark.parametrize("share", [0.07, 0.14, 0.3])
def test_memory__a_thousand_bytes_kept_of_each_input__are_a_fault(share: float) -> None:
    (fault,) = memory_faults(_campaign(200_000, share, leaked_bytes=1_000))
    assert fault.startswith("status grew by")


@pytest.mark.parametrize("share", [0.07, 0.14, 0.3])
def test_memory__filled_in_the_warm_up_and_steady_after__is_none(share: float) -> None:
    assert memory_faults(_campaign(200_000, share, leaked_bytes=0)) == []


def test_memory__one_large_step_after_the_warm_up__is_none() -> None:
    steady = _campaign(200_000, 0.07, leaked_bytes=0)
    stepped = [
        replace(one, rss_bytes={door: rss + 8 * MIB * (one.inputs > 150_000) for door, rss in one.rss_bytes.items()})
        for one in steady
    ]
    assert memory_faults(stepped) == []


def test_memory__pages_that_come_and_go_by_the_mebibyte__are_no_leak() -> None:
    # As an attester was seen to: it gets the fewest inputs, so that a few MiB look like much of each.
    steady = _campaign(200_000, 0.07, leaked_bytes=0)
    restless = [
        replace(one, rss_bytes={door: rss + number % 8 * MIB for door, rss in one.rss_bytes.items()})
        for number, one in enumerate(steady)
    ]
    assert memory_faults(restless) == []


@pytest.mark.parametrize("phase", range(0, 30_000, 5_000))
@pytest.mark.parametrize(("leaked_bytes", "faults"), [(0, 0), (1_000, 1)])
def test_memory__garbage_waits_for_its_collector__is_told_from_a_leak(
    phase: int, leaked_bytes: float, faults: int
) -> None:
    # As an intake was seen to: circles of objects wait for some 9,000 of its inputs, and go all at once.
    collected_now_and_then = [
        replace(
            one, rss_bytes={door: rss + (one.inputs + phase) % 30_000 * 3 * 1024 for door, rss in one.rss_bytes.items()}
        )
        for one in _campaign(200_000, 0.3, leaked_bytes, warm_up_bytes=10 * MIB)
    ]
    assert len(memory_faults(collected_now_and_then)) == faults


def test_memory__kept_free_by_the_allocator__is_not_held() -> None:
    steady = _campaign(200_000, 0.07, leaked_bytes=0)
    fragmented = [
        replace(
            one,
            rss_bytes={door: rss + 1_000 * one.received[door] for door, rss in one.rss_bytes.items()},
            free_bytes={door: 1_000 * count for door, count in one.received.items()},
        )
        for one in steady
    ]
    assert memory_faults(fragmented) == []
    leaking = [replace(one, free_bytes={}) for one in fragmented]
    assert len(memory_faults(leaking)) == 1


def test_memory__grown_beyond_all_bounds_in_the_warm_up__is_a_fault() -> None:
    assert memory_faults(_campaign(200_000, 0.3, leaked_bytes=0, warm_up_bytes=200 * MIB))


def test_memory__of_a_short_campaign__is_not_judged() -> None:
    assert memory_faults(_campaign(30_000, 0.3, leaked_bytes=5_000)) == []


def test_growth__of_a_leak__is_its_slope() -> None:
    samples = _campaign(200_000, 0.3, leaked_bytes=1_000)
    assert growth_per_input(samples, Door.STATUS) == pytest.approx(1_000, abs=100)
    assert growth_per_input(samples[:2], Door.STATUS) == 0.0
    assert growth_per_input(samples, Door.INTAKE) == 0.0


PAGE = """\
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_code="OK",grpc_method="GetIntent",grpc_service="intentmesh.v1.IntakeService"} 7.0
grpc_server_handled_total{grpc_code="INTERNAL",grpc_method="GetIntent",grpc_service="intentmesh.v1.IntakeService"} 2.0
grpc_server_handled_total{grpc_code="UNKNOWN",grpc_method="GetIntent",grpc_service="intentmesh.v1.IntakeService"} 0.0
process_heap_free_bytes 1.3049104e+07
intent_errors_total{error_code="INTERNAL",type="SWAP"} 1.0
intent_errors_total{error_code="INVALID_FIELD",type="SWAP"} 9.0
grpc_server_in_flight{grpc_method="GetIntent",grpc_service="intentmesh.v1.IntakeService"} 1.0
grpc_server_in_flight{grpc_method="Execute",grpc_service="intentmesh.v1.SolverService"} 3.0
"""


def test_bugs__counted_by_a_server__are_found() -> None:
    found = bugs_of({Door.INTAKE: PAGE})
    assert sorted(found.values()) == [1.0, 2.0]
    assert any("GetIntent" in series and "INTERNAL" in series for series in found)
    assert any("intent_errors_total" in series for series in found)


def test_calls_in_flight__but_those_of_the_mesh_itself__are_found() -> None:
    (left,) = calls_in_flight({Door.INTAKE: PAGE})
    assert "GetIntent" in left


def test_free_bytes__of_the_allocator__are_read_from_the_metrics() -> None:
    assert free_bytes_of({Door.INTAKE: PAGE, Door.STATUS: ""}) == {Door.INTAKE: 13_049_104}
