"""How the gate reads what the compiler's model checker says."""

import json
from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.gates.model_checking import (
    Judgement,
    LeftOut,
    Model,
    ModelCheckingGate,
    Models,
    Unproved,
    read_judgement,
)
from intentmesh.contract_pipeline.reports import Verdict

MODEL = Model(contract="AnyA", file="A.sol", of=("A.sol",), targets=("assert", "overflow"), least_proven=2)
TODAY = date(2026, 11, 25)
OTHER = LeftOut(file="B.sol", reason="It is made of hashes, of which the checker knows nothing.", expires=TODAY)
MODELS = Models(model=(MODEL,), left_out=(OTHER,))
SOURCES = ["A.sol", "B.sol"]
TREE = {
    "nodes": [
        {"nodeType": "PragmaDirective", "src": "0:5:0"},
        {
            "nodeType": "ContractDefinition",
            "name": "A",
            "src": "10:90:0",
            "nodes": [{"name": "one", "src": "20:20:0"}, {"name": "two", "src": "50:20:0"}],
        },
    ]
}


def said(
    code: int, start: int = 0, text: str = "CHC: It happens here.", severity: str = "warning"
) -> dict[str, object]:
    return {
        "errorCode": str(code),
        "severity": severity,
        "message": text,
        "formattedMessage": text,
        "sourceLocation": {"file": "A.sol", "start": start, "end": start + 1},
    }


def output(*messages: Mapping[str, object]) -> str:
    return json.dumps({"errors": messages, "sources": {"A.sol": {"ast": TREE}}})


def test_output__safe_targets_and_remarks__are_counted_and_passed_over() -> None:
    judgement = read_judgement(MODEL, output(said(9576, 22), said(9576, 55), said(7737, 55)))
    assert judgement == Judgement(2, ())


@pytest.mark.parametrize(
    ("code", "target"),
    [(4984, "overflow"), (3944, "underflow"), (4281, "divByZero"), (6328, "assert"), (6368, "outOfBounds")],
)
def test_output__target_that_goes_wrong__is_named_with_its_function_and_arguments(code: int, target: str) -> None:
    text = "CHC: It happens here.\nCounterexample:\n\namount = 1\nslope = 0\n\nTransaction trace:\nA.constructor()"
    judgement = read_judgement(MODEL, output(said(code, 55, text)))
    assert judgement == Judgement(0, (Unproved(target, "A.two", "It happens here. With amount = 1; slope = 0"),))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"errors": [3]}'])
def test_output__that_is_no_answer__is_a_failure_of_the_tool(text: str) -> None:
    with pytest.raises(ToolFailedError):
        read_judgement(MODEL, text)


def test_output__of_a_model_that_does_not_compile__is_a_failure_of_the_tool() -> None:
    with pytest.raises(ToolFailedError, match="undeclared"):
        read_judgement(MODEL, output(said(7576, 0, "undeclared identifier", "error")))


def test_model__all_proven__passes() -> None:
    report = ModelCheckingGate().judge(MODELS, {"AnyA": Judgement(2)}, SOURCES, TODAY)
    assert report.verdict is Verdict.PASSED
    assert report.figures["proven"] == {"AnyA": 2}


@pytest.mark.parametrize(
    ("judgement", "check", "where"),
    [
        (Judgement(2, (Unproved("overflow", "A.two", "it happens"),)), "overflow", "AnyA in A.two"),
        (Judgement(1), "number of proofs", "AnyA"),
        (Judgement(None), "time", "AnyA"),
    ],
)
def test_model__not_proven__is_a_finding_with_its_place(judgement: Judgement, check: str, where: str) -> None:
    report = ModelCheckingGate().judge(MODELS, {"AnyA": judgement}, SOURCES, TODAY)
    assert [(finding.check, finding.where) for finding in report.findings] == [(check, where)]


@pytest.mark.parametrize(("sources", "where"), [([*SOURCES, "New.sol"], "New.sol"), (["A.sol"], "B.sol")])
def test_sources__neither_asked_nor_left_out_or_gone__are_findings(sources: list[str], where: str) -> None:
    report = ModelCheckingGate().judge(MODELS, {"AnyA": Judgement(2)}, sources, TODAY)
    assert [(finding.check, finding.where) for finding in report.findings] == [("coverage", where)]


def test_source_left_out__after_its_date__is_a_finding() -> None:
    report = ModelCheckingGate().judge(MODELS, {"AnyA": Judgement(2)}, SOURCES, TODAY + timedelta(days=1))
    assert [(finding.check, finding.where) for finding in report.findings] == [("coverage", "B.sol")]
    assert "expired on 2026-11-25" in report.findings[0].what
