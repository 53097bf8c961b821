"""ivatar's profile, to which the stand-in of the tests is Gravatar."""

from dataclasses import replace

from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR

PROFILE = replace(IVATAR, services={**IVATAR.services, "localhost": "gravatar"})
