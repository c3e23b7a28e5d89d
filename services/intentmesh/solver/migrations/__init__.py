"""Versioned schema of the solver's own database; applied at start by `store.migrations.migrate`."""
