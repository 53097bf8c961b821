"""HTTP: client address, host, headers, excluded URLs, attribute names, redaction."""
