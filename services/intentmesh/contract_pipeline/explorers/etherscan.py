"""Etherscan's API, version 2, and what is compatible: one host for all chains, a key, and a ticket to ask with."""

import json
from urllib.parse import urlsplit

from intentmesh.contract_pipeline.errors import (
    ExplorerAnswerError,
    ExplorerLimitedError,
    ExplorerRefusedError,
    MismatchError,
)
from intentmesh.contract_pipeline.explorers import Publication, Submission
from intentmesh.contract_pipeline.explorers.exchange import SHOWN_CHARACTERS, Answer, Exchange, Patience
from intentmesh.domain.types import format_address

OK = 200


class Etherscan:
    """One Etherscan-compatible host. The key is sent and never shown."""

    def __init__(self, url: str, api_key: str, patience: Patience = Patience()) -> None:  # noqa: B008 (frozen)
        self._url = url
        self._api_key = api_key
        self._patience = patience
        self.name = f"Etherscan at {urlsplit(url).hostname}"

    def __repr__(self) -> str:
        return f"<{self.name}>"

    async def publish(self, submission: Submission) -> Publication:
        async with Exchange(self.name, self._patience) as exchange:
            ticket = await exchange.until_judged(lambda: self._submit(exchange, submission))
            if isinstance(ticket, Publication):
                return ticket
            return await exchange.until_judged(lambda: self._look(exchange, submission.chain_id, ticket))

    async def _submit(self, exchange: Exchange, submission: Submission) -> str | Publication | None:
        """The ticket; None while the explorer has not seen the contract on its chain yet."""
        arguments = submission.constructor_arguments.hex()
        answer = await exchange.post_form(
            self._url,
            {"chainid": str(submission.chain_id)},
            {
                "apikey": self._api_key,
                "module": "contract",
                "action": "verifysourcecode",
                "codeformat": "solidity-standard-json-input",
                "sourceCode": json.dumps(submission.standard_json),
                "contractaddress": format_address(submission.address),
                "contractname": submission.identifier,
                "compilerversion": f"v{submission.compiler_version}",
                # The API has long been misspelt; compatible ones read either.
                "constructorArguements": arguments,
                "constructorArguments": arguments,
            },
        )
        said = self._said(answer)
        lower = said.lower()
        if answer.text("status") == "1":
            return said
        if "already verified" in lower:
            return Publication.ALREADY_VERIFIED
        if "unable to locate contractcode" in lower or "unable to locate contract code" in lower:
            return None
        raise ExplorerRefusedError(f"{self.name} refuses the submission: {said}")

    async def _look(self, exchange: Exchange, chain_id: int, ticket: str) -> Publication | None:
        """The verdict, None while there is none."""
        answer = await exchange.get(
            self._url,
            {
                "chainid": str(chain_id),
                "apikey": self._api_key,
                "module": "contract",
                "action": "checkverifystatus",
                "guid": ticket,
            },
        )
        said = self._said(answer)
        lower = said.lower()
        if "already verified" in lower:
            return Publication.ALREADY_VERIFIED
        if lower.startswith("pass"):
            return Publication.VERIFIED
        if "pending" in lower or "in progress" in lower:
            return None
        if lower.startswith("fail"):
            raise MismatchError(f"{self.name} does not get the code of the chain: {said}")
        raise ExplorerRefusedError(f"{self.name} does not tell of the submission: {said}")

    def _said(self, answer: Answer) -> str:
        """The `result`, which is a sentence or the ticket, without the key in case the explorer repeats it."""
        said = answer.text("result")
        if answer.status != OK or answer.text("status") not in ("0", "1") or not said:
            raise ExplorerAnswerError(f"{self.name} answers HTTP {answer.status} with something else than its API has")
        if "rate limit" in said.lower():
            raise ExplorerLimitedError(f"{self.name} takes no more requests for now")
        return said.replace(self._api_key, "<the key>")[:SHOWN_CHARACTERS]
