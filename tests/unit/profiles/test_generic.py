"""The generic profile: knows nothing of any application."""

from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.profiles.generic import PROFILE


@given(st.text(st.characters()) | st.binary().map(lambda data: data.decode("latin-1")))
def test_every_path_is_other(path: str) -> None:
    """Whatever the path, the route is the one called other, of the kind other."""
    route = PROFILE.route(path)
    assert (route.template, route.kind, route.succeeded) == ("other", "other", None)


def test_claims_nothing() -> None:
    """It knows no size, generator, cache or service, and draws no conclusion from their absence."""
    assert PROFILE.size("s=80") is None
    assert (PROFILE.generators, PROFILE.avatar_cache, dict(PROFILE.services)) == ((), (), {})
    assert PROFILE.image_without_generator == ""
