"""Set-up and shutdown of master and workers, and the assembly of their components."""
