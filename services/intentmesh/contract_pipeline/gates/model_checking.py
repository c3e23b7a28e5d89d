"""What does the compiler's own model checker (SMTChecker) prove of the parts that it can reason about?

`contracts/test/formal/models` holds contracts that call our code with any arguments and say what must be true, and
`models.toml` which of them are asked about what. One compiler process per model, each with its time.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from intentmesh.contract_pipeline.errors import ToolFailedError, ToolTimedOutError
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

# Beyond it a model is killed. One takes 10 to 20 s of a core, more by the clock where others work as well.
MODEL_TIMEOUT_SECONDS = 240.0
FLATTEN_TIMEOUT_SECONDS = 60.0
FOLDER = Path("test/formal/models")
EVM_VERSION = "cancun"
# The compiler's number for "this may go wrong" by target, and the words with which it names a target that is safe.
_UNPROVED = {
    4984: "overflow",
    3944: "underflow",
    4281: "divByZero",
    6328: "assert",
    6368: "outOfBounds",
    2529: "popEmptyArray",
}
_SAFE = 9576

Target = Literal["assert", "overflow", "underflow", "divByZero", "outOfBounds", "popEmptyArray"]
_SourceFile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/]+\.sol$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Strict):
    """One contract of the folder and what is asked about it. `of`: the sources of `src/` that it speaks of."""

    contract: str
    file: _SourceFile
    of: Annotated[tuple[_SourceFile, ...], Field(min_length=1)]
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    # Fewer means that a question was lost, though none was answered with no.
    least_proven: Annotated[int, Field(ge=1)]


class LeftOut(_Strict):
    """A source of `src/` without a model; `expires` is the last day on which that is an answer."""

    file: _SourceFile
    reason: Annotated[str, StringConstraints(min_length=20, strip_whitespace=True)]
    expires: date


class Models(_Strict):
    """`models.toml`."""

    model: Annotated[tuple[Model, ...], Field(min_length=1)]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Unproved:
    """A target, the function in which it goes or may go wrong, and for which arguments, as far as the checker knows."""

    target: str
    place: str
    what: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the checker said of one model. `proven` is None when it was killed."""

    proven: int | None
    unproved: tuple["Unproved", ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCheckingGate:
    """Every target of every model is proven, and every source has a model or a reason to have none."""

    timeout_seconds: float = MODEL_TIMEOUT_SECONDS
    name: str = "model checking"
    # By the whole question: the same one has the same answer, which spares mutants of other files the time.
    _known: dict[str, Judgement] = field(default_factory=dict, init=False, repr=False, compare=False)

    def run(self, workspace: Workspace) -> GateReport:
        models = _read_models(workspace)
        judgements = {model.contract: self._check(workspace, model) for model in models.model}
        return self.judge(models, judgements, workspace.sources(), datetime.now(UTC).date())

    def judge(
        self, models: Models, judgements: Mapping[str, Judgement], sources: Sequence[str], today: date
    ) -> GateReport:
        """The report on one judgement per model. `sources` are the files of `src/` with code, as in `models.toml`."""
        findings = list(self._uncovered(models, sources, today))
        for model in models.model:
            findings += self._held_against(model, judgements[model.contract])
        proven = {name: judgement.proven or 0 for name, judgement in judgements.items()}
        left_out = {one.file: one.reason for one in models.left_out}
        return GateReport(
            self.name,
            tuple(findings),
            f"{sum(proven.values())} targets of {len(models.model)} models proven, {len(left_out)} sources left out",
            {"proven": proven, "left_out": left_out},
        )

    def _held_against(self, model: Model, judgement: Judgement) -> Iterator[Finding]:
        if judgement.proven is None:
            fault = f"the checker did not end within {self.timeout_seconds:.0f} s and was killed"
            yield Finding(self.name, "time", model.contract, fault, conclusive=False)
            return
        for one in judgement.unproved:
            yield Finding(self.name, one.target, f"{model.contract} in {one.place}", one.what)
        if judgement.proven < model.least_proven:
            fault = f"{judgement.proven} targets are proven, {model.least_proven} should be"
            yield Finding(self.name, "number of proofs", model.contract, fault)

    def _uncovered(self, models: Models, sources: Sequence[str], today: date) -> Iterator[Finding]:
        covered = {file for model in models.model for file in model.of}
        left_out = {one.file for one in models.left_out}
        for file in sorted(set(sources) - covered - left_out):
            yield Finding(self.name, "coverage", file, "it has neither a model nor a reason to have none")
        for one in models.left_out:
            if one.expires < today:
                fault = f"its reason to have no model expired on {one.expires.isoformat()}"
                yield Finding(self.name, "coverage", one.file, fault)
        for file in sorted((covered | left_out) - set(sources)):
            yield Finding(self.name, "coverage", file, "models.toml names it and it is not there")

    def _check(self, workspace: Workspace, model: Model) -> Judgement:
        question = json.dumps(_question(model, _flattened(workspace, model)))
        if question not in self._known:
            try:
                completed = workspace.run(
                    workspace.contracts / "tools" / "solc",
                    ("--standard-json",),
                    timeout_seconds=self.timeout_seconds,
                    given=question,
                )
            except ToolTimedOutError:
                self._known[question] = Judgement(None)
            else:
                self._known[question] = read_judgement(model, completed.output)
        return self._known[question]


def read_judgement(model: Model, output: str) -> Judgement:
    """The compiler's JSON, sorted out. Raises ToolFailedError when it says anything else than judgements."""
    try:
        content = json.loads(output)
        messages = content.get("errors", [])
        faults = [message["formattedMessage"] for message in messages if message["severity"] == "error"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailedError(f"the compiler says nothing about {model.contract}:\n{output[-500:]}") from error
    if faults:
        raise ToolFailedError(f"{model.contract} does not compile:\n{faults[0]}")
    trees = [source["ast"] for source in content["sources"].values()]
    proven = 0
    unproved = []
    for message in messages:
        code = int(message["errorCode"])
        if code == _SAFE:
            proven += 1
        elif code in _UNPROVED:
            place = _function_at(trees, message["sourceLocation"]["start"])
            unproved.append(Unproved(_UNPROVED[code], place, _counterexample(message["message"])))
    return Judgement(proven, tuple(unproved))


def _counterexample(message: str) -> str:
    """What is said, and the arguments of the counterexample when there is one."""
    said, _, rest = message.partition("\nCounterexample:")
    arguments = rest.partition("Transaction trace:")[0].split("\n")
    shown = "; ".join(argument.strip() for argument in arguments if argument.strip())
    said = said.strip().removeprefix("CHC: ")
    return f"{said} With {shown}" if shown else said


def _question(model: Model, source: str) -> dict[str, Any]:
    """As the compiler takes it. No time limit of the solver's: the one it counts in steps gives the same every time."""
    return {
        "language": "Solidity",
        "sources": {model.file: {"content": source}},
        "settings": {
            "evmVersion": EVM_VERSION,
            "outputSelection": {"*": {"": ["ast"]}},
            "modelChecker": {
                "contracts": {model.file: [model.contract]},
                "engine": "chc",
                "solvers": ["z3"],
                "targets": list(model.targets),
                "showProvedSafe": True,
                "showUnproved": True,
            },
        },
    }


def _flattened(workspace: Workspace, model: Model) -> str:
    """The model with all that it imports, as one source."""
    file = FOLDER / model.file
    completed = workspace.run(workspace.forge(), ("flatten", str(file)), timeout_seconds=FLATTEN_TIMEOUT_SECONDS)
    if completed.status != 0:
        raise ToolFailedError(f"{file} cannot be put into one source:\n{completed.tail}")
    return completed.output


def _function_at(trees: Sequence[Mapping[str, Any]], offset: int) -> str:
    """Contract and function around a place: they stay the same when lines move."""
    path = ["sources"]
    for tree in trees:
        for contract in tree["nodes"]:
            if contract["nodeType"] != "ContractDefinition" or not _holds(contract, offset):
                continue
            path = [contract["name"]]
            path += [node["name"] for node in contract["nodes"] if _holds(node, offset) and node.get("name")]
    return ".".join(path)


def _holds(node: Mapping[str, Any], offset: int) -> bool:
    start, length, _ = (int(part) for part in node["src"].split(":"))
    return start <= offset < start + length


def _read_models(workspace: Workspace) -> Models:
    file = workspace.contracts / FOLDER / "models.toml"
    try:
        models = Models.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ToolFailedError(f"{file} cannot be read: {error}") from error
    names = sorted(model.contract for model in models.model)
    if any(one == other for one, other in pairwise(names)):
        raise ToolFailedError(f"{file}: two models have one name")
    return models
