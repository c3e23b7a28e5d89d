"""Sending transactions so that each is sent once, whatever crashes. Knows nothing of intents."""
