"""Signs the fills it has seen with its own endpoints: one service, one key, one journal."""
