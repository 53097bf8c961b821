"""The lowest layer: guard, logger, exceptions, safe opening of files, version."""
