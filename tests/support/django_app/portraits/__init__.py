"""A small avatar site on Django: an unmodified application, as far as telemetry is concerned."""
