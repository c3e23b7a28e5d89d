"""Events for tests that need no store."""

from intentmesh.status.told import Told, told
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType, Obligation

INTENT_ID = "0x" + "ab" * 32
ALICE = "0x" + "aA" * 20


def event(sequence: int = 1, **values: object) -> IntentEvent:
    made = IntentEvent(
        intent_id=INTENT_ID,
        sequence=sequence,
        status=IntentStatus.INTENT_STATUS_PENDING,
        obligation=Obligation.OBLIGATION_NONE,
        intent_type=IntentType.INTENT_TYPE_SWAP,
        user=ALICE,
    )
    made.MergeFrom(IntentEvent(**values))  # type: ignore[arg-type]  # whatever the test gives
    return made


def told_event(sequence: int = 1, **values: object) -> Told:
    return told(event(sequence, **values).SerializeToString())
