"""One request, from its environ to the end of its answer."""
