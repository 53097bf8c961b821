"""The secret is made once, for all workers, and readable for us only; what it signs."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from avatar_demo.cache import MemoryCache
from avatar_demo.settings import DemoSettingsError, Settings
from avatar_demo.site import Site, load_secret, prepare_directory


@pytest.fixture
def settings(tmp_path):
    settings = Settings.from_environ({"DEMO_DATA": str(tmp_path / "data")})
    prepare_directory(settings.data)
    return settings


def test_permissions(settings):
    """Nobody else can read the folder and the secret."""
    load_secret(settings)
    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((settings.data / "secret").stat().st_mode) == 0o600
    assert [path.name for path in settings.data.iterdir()] == ["secret"]


def test_race(settings):
    """Workers that start together agree on one secret."""
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load_secret(settings), range(32)))) == 1


def test_configured(tmp_path):
    """A configured secret wins and is not written down."""
    variables = {"DEMO_DATA": str(tmp_path), "DEMO_SECRET": "t" * 20}
    assert load_secret(Settings.from_environ(variables)) == b"t" * 20
    assert list(tmp_path.iterdir()) == []


def test_empty_file(settings):
    """A secret file that holds none is an error, not an empty secret."""
    (settings.data / "secret").write_text("")
    with pytest.raises(DemoSettingsError, match="DEMO_DATA"):
        load_secret(settings)


def test_no_folder(tmp_path):
    """A data folder that cannot be made is an error that names its variable."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoSettingsError, match="DEMO_DATA"):
        prepare_directory(tmp_path / "file")


def test_signed_values(settings):
    """A value is signed for one purpose and one secret, and for a time."""
    site, other = (Site(settings, None, MemoryCache(), secret) for secret in (b"one", b"other"))
    token = site.sign("session", "täxt")
    assert site.unsign("session", token, max_age=60) == "täxt"
    assert site.unsign("session", token, max_age=-1) is None
    assert site.unsign("csrf", token) is None
    assert other.unsign("session", token) is None
    assert site.unsign("session", token.replace(token[0], "x", 1)) is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "\udc80", "\xff" * 100])
def test_forged_values(settings, token):
    """Any text of a client is refused without an error."""
    assert Site(settings, None, MemoryCache(), b"secret").unsign("session", token) is None
