"""The demo's profile, to which the stand-in of the tests is Gravatar."""

from dataclasses import replace

from avatar_demo.profile import PROFILE as DEMO

PROFILE = replace(DEMO, services={**DEMO.services, "localhost": "gravatar"})
