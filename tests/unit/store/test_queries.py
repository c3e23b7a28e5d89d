"""Named queries: every one is found, described and bound."""

import re
from importlib.resources import files

import pytest
from intentmesh.store.queries import load_queries

PACKAGE = "intentmesh.store.queries"


@pytest.mark.parametrize("name", ["intents", "executions", "events"])
def test_load_queries__every_query__has_a_sentence_and_one_statement(name: str) -> None:
    text = files(PACKAGE).joinpath(f"{name}.sql").read_text()
    queries = load_queries(PACKAGE, name)
    assert len(queries) == len(re.findall("^-- name:", text, re.MULTILINE))
    for query in queries.values():
        assert re.match(r"-- [A-Z].*[.;:]", query), query
        assert ";" not in re.sub("--.*", "", query)


def test_load_queries__file_without_names__is_refused() -> None:
    with pytest.raises(ValueError, match="names no query"):
        load_queries("intentmesh.store.migrations", "0001_mesh")
