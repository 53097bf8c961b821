"""The WSGI application."""

import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portraits.settings")
application = get_wsgi_application()
# Loads all views, as a server that preloads its application should; Django would with the first
# request. They have imported the generators by name then, before any worker is there.
import_module(settings.ROOT_URLCONF)
