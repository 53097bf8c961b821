"""An application of Flask under gunicorn, with the generic profile."""

from __future__ import annotations

import pytest

from tests.support.gunicorn_server import Serve
from tests.support.rows import PRELOAD, by_default

pytest.importorskip("flask")


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_requests_go_by_the_rules_of_flask(serve: Serve, preload: bool) -> None:
    """Also where the application was made in the master, and the probe is the worker's."""
    server = serve("flask_site:application", workers=1, preload_app=preload)
    assert server.get("/users/7").text == "7"
    assert server.get("/users/bob").status == 404
    server.await_requests(1, path="/users/<int:id>", status_code="200")
    server.await_requests(1, path="other", status_code="404")
    assert "bob" not in server.get("/metrics").text
