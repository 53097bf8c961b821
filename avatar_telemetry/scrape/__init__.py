"""The metrics page: what is on it, as text, to whom, and on a port of its own."""
