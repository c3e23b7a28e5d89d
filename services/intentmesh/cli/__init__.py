"""The `intentmesh` command. Each subcommand is a module of its own; none holds logic of a service."""
