"""The gates, cheap ones first. Each is one question to one tool, answered by a typed report."""

from typing import Protocol

from intentmesh.contract_pipeline.reports import GateReport
from intentmesh.contract_pipeline.workspace import Workspace


class Gate(Protocol):
    """One question about the contracts of a workspace."""

    @property
    def name(self) -> str:
        """As in tables, records and acceptances."""
        ...

    def run(self, workspace: Workspace) -> GateReport:
        """Asks it. Raises ToolMissingError, ToolFailedError."""
        ...
