"""The wrapped application that ``AVATAR_TELEMETRY_APP`` names, for a server without its own file.

    AVATAR_TELEMETRY_APP=ivatar.wsgi:application \\
        gunicorn -c python:avatar_telemetry.gunicorn avatar_telemetry.wsgi_app:application
"""

import os

from avatar_telemetry.runtime.entry_point import wrap_app

__all__ = ["application"]

application = wrap_app(os.environ.get("AVATAR_TELEMETRY_APP", ""))
