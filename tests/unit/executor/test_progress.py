import json

from hypothesis import given
from hypothesis import strategies as st
from intentmesh.executor.progress import PendingOutcome, Progress
from intentmesh.v1.solver_registry_service_pb2 import OutcomeCause, OutcomeKind

outcomes = st.builds(
    PendingOutcome,
    award_number=st.integers(1, 9),
    solver_id=st.text(max_size=5),
    kind=st.just(OutcomeKind.OUTCOME_KIND_FAILED),
    cause=st.just(OutcomeCause.OUTCOME_CAUSE_SOLVER),
    message=st.text(max_size=5),
)
whole = st.builds(
    Progress,
    rounds=st.integers(0, 9),
    excluded=st.lists(st.text(max_size=3)).map(tuple),
    late_told=st.lists(st.integers(0, 9)).map(tuple),
    cancel_requested=st.booleans(),
    exhausted=st.booleans(),
    outcomes=st.lists(outcomes, max_size=3).map(tuple),
)


@given(whole)
def test_progress__written_and_read__is_the_same(progress: Progress) -> None:
    assert Progress.from_document(json.loads(json.dumps(progress.to_document()))) == progress


def test_progress__document_of_another_version__keeps_what_is_known() -> None:
    assert Progress.from_document({"rounds": 3, "from_blocks": {"1": 2}, "a_later_field": 1}) == Progress(rounds=3)
