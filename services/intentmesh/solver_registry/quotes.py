"""Between the wire and the decision: quotes in, participations out."""

from collections.abc import Sequence

from intentmesh.domain.types import format_address, parse_address, parse_uint256
from intentmesh.solver_registry.asking import Answer
from intentmesh.solver_registry.competition import (
    MILLISECONDS,
    RefusedOffer,
    ScoredOffer,
    UnscoredOffer,
    format_score,
)
from intentmesh.solver_registry.eligibility import Candidate, NotEligible
from intentmesh.v1.auction_pb2 import Participation, Quote, QuoteOutcome

MAX_QUOTE_ID_CHARACTERS = 128
_MAX_TIME_SECONDS = 253_402_300_799  # the last second that a proto Timestamp may hold

# Where the configuration approves anybody, a crowd that is passed over must not make every record large.
MAX_PASSED_OVER = 100


def offer_from(answer: Answer) -> UnscoredOffer | str:
    """The offer in an answer, or the rule it breaks. The solver is the one that was asked, whatever the quote says."""
    quote, candidate = answer.quote, answer.candidate
    if quote is None:
        raise ValueError("the answer holds no quote")
    if problem := _malformed(quote, candidate):
        return problem
    try:
        amounts = tuple(parse_uint256(amount) for amount in quote.output_amounts)
    except ValueError as error:
        return f"an amount of the quote is {error}"
    return UnscoredOffer(
        solver_id=candidate.solver_id,
        solver=candidate.solver,
        quote_id=quote.quote_id,
        amounts=amounts,
        fill_time_ms=_milliseconds(quote.fill_time.seconds, quote.fill_time.nanos),
        valid_until_ms=_milliseconds(quote.valid_until.seconds, quote.valid_until.nanos),
        standing=candidate.standing,
    )


def _malformed(quote: Quote, candidate: Candidate) -> str:
    if len(quote.quote_id) > MAX_QUOTE_ID_CHARACTERS:
        return "the quote's id is too long"
    if quote.solver_id and quote.solver_id.lower() != candidate.solver_id:
        return "the quote names another solver id"
    try:
        if parse_address(quote.solver) != candidate.solver:
            return "the quote names another solver address"
    except ValueError as error:
        return f"the quote's solver is {error}"
    if not (quote.HasField("fill_time") and quote.HasField("valid_until")):
        return "the quote has no fill time or no end"
    times = (quote.fill_time, quote.valid_until)
    if any(not 0 <= t.seconds <= _MAX_TIME_SECONDS or not 0 <= t.nanos < 10**9 for t in times):
        return "a time of the quote is no time"
    return ""


def quote_of(scored: ScoredOffer) -> Quote:
    """The bound offer as it is told: with the amounts that will be paid."""
    offer = scored.offer
    quote = Quote(
        quote_id=offer.quote_id,
        solver_id=offer.solver_id,
        solver=format_address(offer.solver),
        output_amounts=[str(amount) for amount in scored.paid],
    )
    quote.fill_time.FromMilliseconds(offer.fill_time_ms)
    quote.valid_until.FromMilliseconds(offer.valid_until_ms)
    return quote


def participations(
    ranked: Sequence[ScoredOffer],
    refused: Sequence[RefusedOffer],
    malformed: Sequence[tuple[Answer, str]],
    answers: Sequence[Answer],
    passed_over: Sequence[NotEligible],
) -> list[Participation]:
    """Everybody's part: the ranked by rank, then those whose answer was no offer, then those who were not asked.

    Of the last as many as MAX_PASSED_OVER; they come as the roster does, those that are approved first.
    """
    latency = {answer.candidate.solver_id: answer.latency_ms for answer in answers}
    return [
        *(_ranked(scored, first=index == 0, latency=latency) for index, scored in enumerate(ranked)),
        *(_invalid(r.offer.solver_id, r.message, latency) for r in refused),
        *(_invalid(answer.candidate.solver_id, message, latency) for answer, message in malformed),
        *(_silent(answer) for answer in answers if answer.quote is None),
        *(
            Participation(
                solver_id=n.candidate.solver_id,
                outcome=QuoteOutcome.QUOTE_OUTCOME_NOT_ELIGIBLE,
                message=n.message,
            )
            for n in passed_over[:MAX_PASSED_OVER]
        ),
    ]


def _ranked(scored: ScoredOffer, *, first: bool, latency: dict[str, int]) -> Participation:
    solver_id = scored.offer.solver_id
    return Participation(
        solver_id=solver_id,
        outcome=QuoteOutcome.QUOTE_OUTCOME_WON if first else QuoteOutcome.QUOTE_OUTCOME_OUTBID,
        quote=quote_of(scored),
        score=format_score(scored.score),
        latency_ms=latency[solver_id],
    )


def _invalid(solver_id: str, message: str, latency: dict[str, int]) -> Participation:
    outcome = QuoteOutcome.QUOTE_OUTCOME_INVALID
    return Participation(solver_id=solver_id, outcome=outcome, message=message, latency_ms=latency[solver_id])


def _silent(answer: Answer) -> Participation:
    return Participation(
        solver_id=answer.candidate.solver_id,
        outcome=answer.outcome,
        message=answer.message,
        latency_ms=answer.latency_ms,
    )


def _milliseconds(seconds: int, nanos: int) -> int:
    return seconds * MILLISECONDS + nanos // 1_000_000
