"""The WSGI middleware: a request from its environ to the end of its response."""
