"""EVM chains: endpoints, contract bindings, evidence. Knows nothing of services or SQL."""
