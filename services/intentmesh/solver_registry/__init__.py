"""Who the solvers are, what they offer for an order, and how they have kept their promises."""
