"""The solver's own metrics. Labels are bounded by the protos. Process-wide, since Prometheus collects by process."""

from prometheus_client import Counter, Gauge

from intentmesh.solver.jobs import ENDED, Stage
from intentmesh.v1 import solver_service_pb2 as pb

QUOTES = Counter("solver_quotes_total", "Answers to quote requests", ["result"])
JOBS_ENDED = Counter("solver_jobs_ended_total", "Jobs by how they ended", ["stage"])
JOBS_RUNNING = Gauge("solver_jobs_running", "Jobs that this process works on")
JOB_RETRIES = Counter("solver_job_retries_total", "Runs of jobs that were cut short and taken up again")
REGISTERED = Gauge("solver_registered", "1 while the registry knows this solver")

OFFERED = "offered"
DECLINED = "declined"


def stage_label(stage: Stage) -> str:
    """SETTLED, RELEASED, …"""
    return pb.ExecuteStage.Name(stage).removeprefix("EXECUTE_STAGE_")


def start_series_at_zero() -> None:
    """A rate over a series that appears later misses its start."""
    for result in (OFFERED, DECLINED):
        QUOTES.labels(result)
    for stage in ENDED:
        JOBS_ENDED.labels(stage_label(stage))
