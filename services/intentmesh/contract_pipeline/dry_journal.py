"""The journal of a dry run: it knows what earlier runs left, and nobody will ever know what it was told."""

from intentmesh.contract_pipeline.journal import Journal


class DryJournal(Journal):
    """Reads as a journal does and writes nothing, so that no real run ever takes a dry one's word."""

    def _write(self) -> None:
        pass

    def close(self) -> None:
        """Leaves the file: the run that it belongs to is not complete."""
