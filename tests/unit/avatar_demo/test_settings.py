"""``DEMO_*`` variables become settings, or errors that name them."""

import pytest

from avatar_demo.settings import DemoSettingsError, Settings


def test_defaults(tmp_path):
    """Without variables the demo keeps everything in a folder of the user's cache."""
    settings = Settings.from_environ({"HOME": str(tmp_path)})
    assert settings.data == tmp_path / ".cache" / "avatar-telemetry-demo"
    assert settings.database.database == str(settings.data / "demo.sqlite3")
    assert settings.gravatar_url == "https://secure.gravatar.com"
    assert not settings.gravatar


def test_no_home():
    """Without a home the folder is in the system's temporary one, and carries the user's id."""
    assert Settings.from_environ({}).data.name.startswith("avatar-telemetry-demo-")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        pytest.param("postgresql://u:p@h/d", "postgresql+psycopg", id="postgresql"),
        pytest.param("mariadb://u:p@h/d", "mariadb+pymysql", id="mariadb"),
        pytest.param("mysql+mysqldb://u:p@h/d", "mysql+mysqldb", id="a driver of one's own"),
    ],
)
def test_drivers(url, driver):
    """A URL without a driver gets the one that our extras install."""
    assert Settings.from_environ({"DEMO_DATABASE": url}).database.drivername == driver


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("DEMO_DATABASE", "no url", id="database"),
        pytest.param("DEMO_DATABASE", "postgre://u:p@h/d", id="database's kind"),
        pytest.param("DEMO_DATA", f"{__file__}/data", id="data in a file"),
        pytest.param("DEMO_SECRET", "short", id="secret"),
        pytest.param("DEMO_MEMCACHED", "localhost", id="no port"),
        pytest.param("DEMO_MEMCACHED", "localhost:999999", id="port too high"),
        pytest.param("DEMO_DEVELOPMENT", "perhaps", id="development"),
        pytest.param("DEMO_GRAVATAR", "maybe", id="flag"),
        pytest.param("DEMO_GRAVATAR_URL", "ftp://example.org", id="gravatar scheme"),
        pytest.param("DEMO_GRAVATAR_URL", "http://[", id="gravatar no URL"),
        pytest.param("DEMO_BLUESKY_URL", "example.org", id="bluesky"),
        pytest.param("DEMO_GRAVATAR_CA", "/no/such/file", id="authorities"),
        pytest.param("DEMO_MEMCACHED_TIMEOUT", "0", id="no time for memcached"),
        pytest.param("DEMO_MEMCACHED_TIMEOUT", "nan", id="memcached's time"),
        pytest.param("DEMO_OUTSIDE_TIMEOUT", "-5", id="time of others"),
        pytest.param("DEMO_MAX_UPLOAD", "10M", id="upload"),
        pytest.param("DEMO_MAX_PIXELS", "0", id="pixels"),
        pytest.param("DEMO_MAX_PHOTOS", "-1", id="photos"),
    ],
)
def test_errors(name, value):
    """A value that cannot be used is refused by the name of its variable."""
    with pytest.raises(DemoSettingsError, match=name):
        Settings.from_environ({name: value})


@pytest.mark.parametrize(
    ("environ", "development"),
    [
        pytest.param({}, False, id="default"),
        pytest.param({"OTEL_ENVIRONMENT": "development"}, False, id="development"),
        pytest.param({"DEMO_DEVELOPMENT": "no"}, False, id="switched off"),
        pytest.param({"OTEL_ENVIRONMENT": "x", "DEMO_DEVELOPMENT": "1"}, True, id="switched on"),
    ],
)
def test_development(environ, development):
    """Only its own variable switches development on."""
    assert Settings.from_environ(environ).development is development


def test_secrets_are_masked():
    """Neither the secret nor the database's password is in the representation."""
    variables = {"DEMO_SECRET": "x" * 20, "DEMO_DATABASE": "postgresql://u:hidden@h/d"}
    text = repr(Settings.from_environ(variables))
    assert "x" * 20 not in text
    assert "hidden" not in text


def test_timeouts():
    """The timeouts are numbers of seconds."""
    variables = {"DEMO_MEMCACHED_TIMEOUT": "0.25", "DEMO_OUTSIDE_TIMEOUT": "60"}
    settings = Settings.from_environ(variables)
    assert (settings.memcached_timeout, settings.outside_timeout) == (0.25, 60.0)


@pytest.mark.parametrize("address", ["/run/memcached.sock", "unix:/m.sock", "[::1]:11211", "m:1"])
def test_memcached_addresses(address):
    """Memcached is a host with a port or a socket's path."""
    assert Settings.from_environ({"DEMO_MEMCACHED": address}).memcached == address
