"""Prometheus metrics: the process-wide exception to "no global state", since Prometheus collects by process.

Labels are bounded: solvers by registration, chains and error codes by configuration and enum, methods by the protos.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from intentmesh.rpc.heap import HeapCollector
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType

INTENTS_SUBMITTED = Counter("intents_submitted_total", "Submissions by their result", ["type", "status"])
INTENT_RESOLUTION_SECONDS = Histogram(
    "intent_resolution_time_seconds",
    "From acceptance to the terminal status",
    ["type"],
    buckets=(1, 5, 10, 30, 60, 300, 600, 1800),
)
INTENT_GAS_USED = Histogram(
    "intent_gas_used", "Gas used for one intent on one chain", ["type", "chain"], buckets=(1e5, 5e5, 1e6, 5e6, 1e7)
)
INTENT_ERRORS = Counter("intent_errors_total", "Refusals and failures by reason", ["type", "error_code"])
INTENTS_HELD = Gauge("executor_intents_held", "Intents that this process works on, or waits with", ["state"])
INTENTS_DISPLACED = Counter(
    "executor_intents_displaced_total", "Intents that had to rest since more were waiting than are held"
)
SOLVER_PERFORMANCE_SCORE = Gauge("solver_performance_score", "0 to 100", ["solver_id"])
SOLVER_SUCCESS_RATE = Gauge("solver_success_rate", "Settled as promised out of won, 0 to 1", ["solver_id"])

RPC_HANDLED = Counter("grpc_server_handled_total", "Calls ended", ["grpc_service", "grpc_method", "grpc_code"])
RPC_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "Time in the handler of unary calls",
    ["grpc_service", "grpc_method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RPC_IN_FLIGHT = Gauge("grpc_server_in_flight", "Calls running now", ["grpc_service", "grpc_method"])
BACKGROUND_FAILURES = Counter("background_task_failures_total", "Background tasks that died", ["task"])
RATE_LIMITER_FALLBACKS = Counter(
    "rate_limiter_fallback_total", "Requests counted by the limiter of this process because Valkey was away"
)
RATE_LIMITER_LEASES = Counter("rate_limiter_leases_total", "Calls to Valkey that leased rate limit tokens")
HEALTH_CHECK = Gauge("health_check_ok", "1 where the named check passes", ["check"])

REGISTRY.register(HeapCollector())

INTENT_TYPES = ("SWAP", "BRIDGE", "TRANSFER")


def type_label(value: IntentType.ValueType) -> str:
    """SWAP, BRIDGE, TRANSFER, or UNSPECIFIED for what could not be derived."""
    return IntentType.Name(value).removeprefix("INTENT_TYPE_")


def status_label(value: IntentStatus.ValueType) -> str:
    """PENDING, EXECUTING, …"""
    return IntentStatus.Name(value).removeprefix("INTENT_STATUS_")


def start_intent_series_at_zero(statuses: tuple[str, ...] = ("accepted", "duplicate", "refused")) -> None:
    """Register the intent series before the first intent: a rate over a series that appears later misses its start."""
    for intent_type in INTENT_TYPES:
        INTENT_RESOLUTION_SECONDS.labels(intent_type)
    for declared in IntentType.values():
        for status in statuses:
            INTENTS_SUBMITTED.labels(type_label(declared), status)
