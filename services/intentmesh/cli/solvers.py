"""`intentmesh solvers`: who competes, and how they do."""

from datetime import UTC, datetime
from pathlib import Path

import click
from google.protobuf import json_format

from intentmesh.cli.mesh import data_dir_option, gateway_option, json_option, open_client, run_async
from intentmesh.cli.output import Form, Output, enum_label
from intentmesh.v1 import solver_registry_service_pb2 as registry_pb2


@click.command(name="solvers")
@data_dir_option
@gateway_option
@json_option
@run_async
async def command(data_dir: Path, gateway: str | None, as_json: bool) -> None:
    """List the registered solvers with state, score and success rate."""
    output = Output.choose(as_json)
    async with open_client(data_dir, gateway) as client:
        solvers = await client.solvers()
    if output.form is Form.JSON:
        for solver in solvers:
            output.record(json_format.MessageToDict(solver, preserving_proto_field_name=True), line="")
        return
    columns = ("name", "state", "score", "success", "won", "settled", "routes", "last seen", "address")
    output.table("Solvers", columns, [_row(solver) for solver in solvers])


def _row(solver: registry_pb2.Solver) -> tuple[str, ...]:
    seen = solver.last_heartbeat_time.ToDatetime(tzinfo=UTC)
    return (
        solver.name or "-",
        enum_label(registry_pb2.SolverState.Name(solver.state), "SOLVER_STATE"),
        f"{solver.performance_score:.1f}",
        f"{solver.success_rate:.0%}",
        str(solver.won),
        str(solver.settled),
        str(len(solver.routes)),
        f"{max((datetime.now(UTC) - seen).total_seconds(), 0):.0f} s ago",
        solver.address,
    )
