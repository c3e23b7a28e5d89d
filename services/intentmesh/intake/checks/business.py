"""Layer 5: whether the mesh wants the order now, by its policy and by what is stored."""

from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.store import intents
from intentmesh.store.pool import Pool
from intentmesh.v1.error_pb2 import ErrorReason


class BusinessChecks:
    """Reads the store; raises the errors of asyncpg."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self, admissible: Admissible, policy: Policy) -> list[Finding]:
        """INTAKE_DISABLED, TOO_MANY_OPEN_INTENTS."""
        if not policy.intake_enabled:
            return [Finding("", ErrorReason.ERROR_REASON_INTAKE_DISABLED, "The intake is switched off for now.")]
        limit = policy.maximum_open_intents_per_user
        async with self._pool.acquire() as conn:
            count = await intents.count_open(conn, admissible.order.user)
        if count < limit:
            return []
        return [
            Finding(
                "order.user",
                ErrorReason.ERROR_REASON_TOO_MANY_OPEN_INTENTS,
                f"The user has {count} open intents; at most {limit} are served at a time.",
                {"limit": str(limit)},
            )
        ]
