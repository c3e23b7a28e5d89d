"""JSON logs on standard error: one line an event, with the trace id, the method and whatever the handler has bound."""

import logging
import sys

import structlog

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # Without local variables: they hold keys, signatures and passwords.
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
)


def configure_logging(level: str, service: str) -> None:
    """Send everything, libraries included, to standard error as JSON.

    `level` is a name of `logging` in any case. Bind ids of the work in hand with
    `structlog.contextvars.bind_contextvars(intent_id=…)`: they are on every line until the call ends.
    """

    def add_service(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"] = service
        return event

    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[add_service, *_SHARED, structlog.processors.JSONRenderer()],
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
