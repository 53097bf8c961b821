"""Photos, and the addresses whose digests lead to them."""

import hashlib

from django.conf import settings
from django.db import models


class Photo(models.Model):
    """An uploaded picture."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    data = models.BinaryField()
    format = models.CharField(max_length=4)
    shown = models.BigIntegerField(default=0)


class Address(models.Model):
    """An e-mail address, found by either of its digests."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    md5 = models.CharField(max_length=32, unique=True)
    sha256 = models.CharField(max_length=64, unique=True)
    photo = models.ForeignKey(Photo, models.SET_NULL, null=True)
    shown = models.BigIntegerField(default=0)

    @classmethod
    def of(cls, user, email: str) -> "Address":
        text = email.lower().encode()
        digests = {
            "md5": hashlib.md5(text).hexdigest(),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        return cls.objects.create(user=user, **digests)
