"""The order in which a job's stages may be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.solver.jobs import ENDED, FREES_INVENTORY, Report, advances, to_update
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

STAGES = [value for value in pb.ExecuteStage.values() if value]
stages = st.sampled_from(STAGES)


@given(new=stages)
def test_advances__ended_job__never(new: pb.ExecuteStage.ValueType) -> None:
    assert not any(advances(ended, new) for ended in ENDED)


@given(stage=stages)
def test_advances__same_stage__is_not_told_twice(stage: pb.ExecuteStage.ValueType) -> None:
    assert not advances(stage, stage)


@given(told=st.lists(stages, max_size=30))
def test_advances__any_telling__leads_to_rising_stages_and_one_end(told: list[pb.ExecuteStage.ValueType]) -> None:
    kept = [pb.EXECUTE_STAGE_ACCEPTED]
    for stage in told:
        if advances(kept[-1], stage):
            kept.append(stage)
    assert kept == sorted(set(kept))
    assert not any(stage in ENDED for stage in kept[:-1])


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_advances__from_every_running_stage__may_end(ended: pb.ExecuteStage.ValueType) -> None:
    running = [stage for stage in STAGES if stage not in ENDED]
    assert all(advances(stage, ended) for stage in running)


def test_frees_inventory__before_the_fill__not() -> None:
    holding = {stage for stage in STAGES if stage not in FREES_INVENTORY}
    assert holding == {
        pb.EXECUTE_STAGE_ACCEPTED,
        pb.EXECUTE_STAGE_OPENING,
        pb.EXECUTE_STAGE_OPENED,
        pb.EXECUTE_STAGE_FILLING,
    }


def test_to_update__report_with_reason__carries_all_of_it() -> None:
    report = Report(pb.EXECUTE_STAGE_FAILED, "gone", reasons.ERROR_REASON_LATE_FILL)
    update = to_update(report, 3)
    assert (update.update_number, update.stage, update.message, update.reason) == (
        3,
        pb.EXECUTE_STAGE_FAILED,
        "gone",
        reasons.ERROR_REASON_LATE_FILL,
    )
    assert update.create_time.seconds > 0
    assert not update.HasField("transaction")
