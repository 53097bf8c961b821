"""The probe of SQLAlchemy with the drivers of real databases."""

from __future__ import annotations

import pytest

from tests.support import drivers
from tests.support.drivers import Driver, Servers
from tests.unit.probes.test_sqlalchemy import probes, test_one_statement_is_one  # noqa: F401


@pytest.fixture(params=[name for name in drivers.NAMES if name != "sqlite3"])
def driver(request: pytest.FixtureRequest, servers: Servers) -> Driver:
    return servers.driver(request.param)
