"""The demo avatar server: ivatar's URLs on WebOb, Jinja, SQLAlchemy, Pillow and pymemcache.

``gunicorn avatar_demo:application`` serves it; ``DEMO_*`` variables configure it.
"""

import os

from avatar_demo.application import Application, create_application
from avatar_demo.settings import DemoSettingsError, Settings

__all__ = ["DemoSettingsError", "application", "create_application"]

# The environment is read with the first request, so that a master may import this and fork.
application = Application(lambda: Settings.from_environ(os.environ))
