"""Named SQL of the solver's own database."""
