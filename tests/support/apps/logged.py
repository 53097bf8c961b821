"""The application of ``answers``, which configures logging when it is imported, as Django does."""

from __future__ import annotations

import json
import logging.config
import os

logging.config.dictConfig(json.loads(os.environ["LOGGING"]))

from answers import application  # noqa: E402, F401 - after the logging
