"""Record one request, from its environ to the end of its response."""
