"""What the intake does in a second on one core, and where the time goes."""
