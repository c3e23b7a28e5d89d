"""Named SQL. Each query of a `.sql` file begins with `-- name: NAME` and a sentence that says what it is for."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)[ \t]*\n", re.MULTILINE)


def load_queries(package: str, name: str) -> Mapping[str, str]:
    """The queries of `NAME.sql` in a package, by name. Raises ValueError for a file whose names are not unique."""
    parts = _NAME.split(files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8"))
    names, bodies = parts[1::2], parts[2::2]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{package}/{name}.sql names no query, or one twice")
    return MappingProxyType({query: body.strip().removesuffix(";") for query, body in zip(names, bodies, strict=True)})
