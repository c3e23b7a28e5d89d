"""What every server and client shares: life cycle, identity, errors, health, channels. Knows nothing of intents."""
