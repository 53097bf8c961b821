"""A cache backend of the site's own, with a fault."""

from django.core.cache.backends.filebased import FileBasedCache


class BrokenCache(FileBasedCache):
    """Its disk is gone."""

    def get(self, key, default=None, version=None):
        raise OSError("the disk is gone")
