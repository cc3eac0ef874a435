"""From the configuration of a scheduler to a solver, its noise levels and its rows."""
