"""Makes the shared fixtures known to every test. What each gives stands in its own docstring."""

pytest_plugins = (
    "tests.fixtures.background",
    "tests.fixtures.servers",
    "tests.fixtures.isolation",
    "tests.fixtures.contracts",
    "tests.fixtures.distribution",
)
