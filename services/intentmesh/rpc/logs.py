"""JSON logs on standard error: one line an event, with the trace id, the method and whatever the handler has bound."""

import logging
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import orjson
import structlog

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # Without local variables: they hold keys, signatures and passwords.
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
)


class _Lines:
    """How lines are written that bypass the pipeline; None until the logs are configured."""

    processors: list[structlog.types.Processor] | None = None
    service = ""
    shown = True


def log_events(event: str, rows: Iterable[Mapping[str, object]]) -> None:
    """One line of level info for each row, as `log.info(event, **row)` writes it, at a fraction of the price.

    For what is logged thousands of times a second. Numbers have at most 64 bits. All lines have one time stamp and are
    written at once.
    """
    if structlog.get_config()["processors"] is not _Lines.processors:
        # Somebody has put in processors of their own, to listen to what is logged.
        log = structlog.get_logger()
        for row in rows:
            log.info(event, **row)
        return
    if not _Lines.shown:
        return
    bound = structlog.contextvars.get_contextvars()
    common = {
        "event": event,
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "service": _Lines.service,
    }
    lines = [orjson.dumps({**bound, **row, **common}, default=repr, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
    sys.stderr.write(b"".join(lines).decode())
    sys.stderr.flush()


def configure_logging(level: str, service: str) -> None:
    """Send everything, libraries included, to standard error as JSON.

    `level` is a name of `logging` in any case. Bind ids of the work in hand with
    `structlog.contextvars.bind_contextvars(intent_id=…)`: they are on every line until the call ends.
    """

    def add_service(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"] = service
        return event

    number = logging.getLevelNamesMapping()[level.upper()]
    processors: list[structlog.types.Processor] = [add_service, *_SHARED, structlog.processors.JSONRenderer()]
    _Lines.processors, _Lines.service, _Lines.shown = processors, service, number <= logging.INFO
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[add_service, *_SHARED],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
