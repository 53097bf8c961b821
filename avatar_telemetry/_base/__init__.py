"""What every folder may use: the guard, the logger, errors, files opened safely, the version."""
