"""What can go wrong in the pipeline, other than findings, which are results.

PipelineError
├── ToolMissingError         a program the gates run is not installed
├── ToolFailedError          a program ended in a way that says nothing about the contracts
│   └── ToolTimedOutError        it did not end in time and was killed
├── InvalidAcceptancesError  the file of accepted findings cannot be read
├── InvalidMutantError       a mutant does not change its source, or does not compile
├── UnsoundBaselineError     a gate finds something in the sources without any mutant
├── NotBuiltError            a compiled contract is missing
├── InvalidNetworksError     the file of networks is missing or says something impossible
├── InvalidRecordError       a deployment record is missing or is not one
├── DeploymentError          a chain did not do what was asked
├── ExplorerError            an explorer does not show a contract as verified
│   ├── MismatchError            it compiled the sources and got other code than the chain has
│   ├── ExplorerRefusedError     it does not take the submission: the key, the chain, the form
│   ├── ExplorerLimitedError     it takes no more requests for now
│   ├── ExplorerTimeoutError     it did not answer, or not judge, in time
│   └── ExplorerAnswerError      it cannot be reached or says what its API does not know
└── NotConfirmedError        a deployment that needs a person's word did not get it
"""


class PipelineError(Exception):
    """The pipeline cannot go on. The message tells a person what to do next."""


class ToolMissingError(PipelineError):
    """A program the gates run is not installed."""


class ToolFailedError(PipelineError):
    """A program ended in a way that says nothing about the contracts; the message holds the end of its output."""


class ToolTimedOutError(ToolFailedError):
    """A program did not end in time and was killed, with everything it had started."""


class InvalidAcceptancesError(PipelineError):
    """The file of accepted findings cannot be read."""


class InvalidMutantError(PipelineError):
    """A mutant does not change its source, or what it makes of it does not compile."""


class UnsoundBaselineError(PipelineError):
    """A gate finds something in the sources as they are, so what it finds in mutants says nothing."""


class NotBuiltError(PipelineError):
    """A compiled contract is missing."""


class InvalidNetworksError(PipelineError):
    """The file of networks is missing, is not TOML, or says something impossible."""


class InvalidRecordError(PipelineError):
    """A deployment record is missing or is not one."""


class DeploymentError(PipelineError):
    """A chain did not do what was asked."""


class ExplorerError(PipelineError):
    """An explorer does not show a contract as verified. No message holds a key or a URL."""


class MismatchError(ExplorerError):
    """An explorer compiled the sources and got other code than the chain has."""


class ExplorerRefusedError(ExplorerError):
    """An explorer does not take the submission: the key, the chain or the form is not to its liking."""


class ExplorerLimitedError(ExplorerError):
    """An explorer takes no more requests for now."""


class ExplorerTimeoutError(ExplorerError):
    """An explorer did not answer, or not judge, in time."""


class ExplorerAnswerError(ExplorerError):
    """An explorer cannot be reached, or says what its API does not know."""


class NotConfirmedError(PipelineError):
    """A deployment that needs a person's word did not get it."""
