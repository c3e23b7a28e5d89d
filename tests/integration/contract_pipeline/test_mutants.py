"""Two of the mutants against the cheapest gate. All of them against all gates: `make audit`."""

import pytest
from intentmesh.cli.contracts_options import acceptances_of
from intentmesh.contract_pipeline.errors import InvalidMutantError
from intentmesh.contract_pipeline.gates.unit_tests import SHORT_FUZZING, UnitTestGate
from intentmesh.contract_pipeline.mutation import Mutant, MutationRun, load_mutants
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY

FAST = ("attester-counts-twice", "low-offers-taken")
# They compile the contracts with all their tests: a minute on a machine with nothing else to do.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def mutation() -> MutationRun:
    return MutationRun(Workspace.of(REPOSITORY), [UnitTestGate(SHORT_FUZZING)], acceptances_of(REPOSITORY))


def test_mutants__a_fast_pair__are_noticed_by_the_unit_tests(mutation: MutationRun) -> None:
    mutants = [mutant for mutant in load_mutants(REPOSITORY) if mutant.name in FAST]
    trials = list(mutation.run(mutants, every_gate=False))
    assert [(trial.mutant.name, trial.caught) for trial in trials] == [(name, True) for name in FAST]


def test_mutant__that_does_not_fit__is_refused_and_not_counted_as_noticed(mutation: MutationRun) -> None:
    stale = Mutant(name="stale", breaks="x", file="src/OutputSettler.sol", before="no such text", after="")
    with pytest.raises(InvalidMutantError, match="0 times"):
        list(mutation.run([stale], every_gate=False))
