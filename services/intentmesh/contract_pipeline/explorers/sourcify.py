"""Sourcify's API, version 2: a submission becomes a job, and the job is asked for until it is completed."""

from urllib.parse import quote, urlsplit

from intentmesh.contract_pipeline.errors import (
    ExplorerAnswerError,
    ExplorerRefusedError,
    MismatchError,
)
from intentmesh.contract_pipeline.explorers import Publication, Submission
from intentmesh.contract_pipeline.explorers.exchange import SHOWN_CHARACTERS, Answer, Exchange, Patience
from intentmesh.domain.types import format_address

ACCEPTED = 202
OK = 200
CONFLICT = 409
EXACT = "exact_match"
# It differs in the metadata only, that is in comments or in settings that make no other code.
PARTIAL = "match"
MISMATCHES = ("no_match", "bytecode_length_mismatch")


class Sourcify:
    """One Sourcify server; it needs no key."""

    def __init__(self, url: str, patience: Patience = Patience()) -> None:  # noqa: B008 (frozen)
        self._url = url.rstrip("/")
        self._patience = patience
        self.name = f"Sourcify at {urlsplit(url).hostname}"

    async def publish(self, submission: Submission) -> Publication:
        async with Exchange(self.name, self._patience) as exchange:
            job = await exchange.until_judged(lambda: self._submit(exchange, submission))
            if isinstance(job, Publication):
                return job
            return await exchange.until_judged(lambda: self._look(exchange, job))

    async def _submit(self, exchange: Exchange, submission: Submission) -> str | Publication:
        """The job's id, or the verdict when there is nothing left to do."""
        content = {
            "stdJsonInput": submission.standard_json,
            "compilerVersion": submission.compiler_version,
            "contractIdentifier": submission.identifier,
        }
        if submission.creation_transaction is not None:
            content["creationTransactionHash"] = "0x" + submission.creation_transaction.hex()
        url = f"{self._url}/v2/verify/{submission.chain_id}/{format_address(submission.address)}"
        answer = await exchange.post_json(url, content)
        if answer.status == CONFLICT and answer.text("customCode") == "already_verified":
            return Publication.ALREADY_VERIFIED
        if answer.status != ACCEPTED:
            raise ExplorerRefusedError(f"{self.name} refuses the submission: {_fault(answer)}")
        job = answer.text("verificationId")
        if not job:
            raise ExplorerAnswerError(f"{self.name} took the submission and named no job")
        return job

    async def _look(self, exchange: Exchange, job: str) -> Publication | None:
        """The verdict, None while there is none."""
        answer = await exchange.get(f"{self._url}/v2/verify/{quote(job, safe='')}", {})
        completed = answer.content.get("isJobCompleted")
        if answer.status != OK or not isinstance(completed, bool):
            raise ExplorerAnswerError(f"{self.name} does not tell of its job: {_fault(answer)}")
        if not completed:
            return None
        contract = answer.content.get("contract")
        match = contract.get("match") if isinstance(contract, dict) else None
        if match == EXACT:
            return Publication.VERIFIED
        if match == PARTIAL:
            raise MismatchError(f"{self.name} gets the same instructions and other metadata: not the sources of here")
        error = answer.content.get("error")
        if not isinstance(error, dict):
            raise ExplorerAnswerError(f"{self.name} completed its job with neither a match nor an error")
        code, fault = error.get("customCode"), _fault(Answer(answer.status, error))
        if code == "already_verified":
            return Publication.ALREADY_VERIFIED
        if code in MISMATCHES:
            raise MismatchError(f"{self.name} does not get the code of the chain: {fault}")
        raise ExplorerRefusedError(f"{self.name} could not judge: {fault}")


def _fault(answer: Answer) -> str:
    said = answer.text("message") or answer.text("customCode") or f"HTTP {answer.status}"
    return said[:SHOWN_CHARACTERS]
