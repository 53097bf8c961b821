"""``python -m avatar_telemetry``: the command, if its script is not on the path."""

from avatar_telemetry.cli import main

if __name__ == "__main__":
    main()
