"""The demo on real PostgreSQL and MariaDB: the same pages as on SQLite."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.demo_fixtures import Browser


@pytest.fixture(params=["postgresql", "mysql"])
def environ(request, servers, tmp_path):
    """Settings of a demo with an empty database."""
    database = servers.new_database(request.param)
    return {"DEMO_DATABASE": database, "DEMO_DATA": str(tmp_path / "data")}


def test_an_account_lives_from_registration_to_its_avatar(browser, photo):
    """One can register, upload a photo, crop it, see it as avatar, log out and log in."""
    assert browser.register("eve@example.org").status_code == 302
    upload = browser.upload(photo())
    assert "/accounts/crop_photo/" in upload.location
    crop = {"x": "0", "y": "0", "w": "20", "h": "20"}
    assert browser.post(upload.location, crop).status_code == 302
    digest = hashlib.md5(b"eve@example.org").hexdigest()
    assert browser.get(f"/avatar/{digest}?s=20").content_type == "image/png"
    assert browser.post("/accounts/logout/").status_code == 302
    assert browser.log_in("eve@example.org").status_code == 302
    assert browser.log_in("eve@example.org", "wrong password").status_code == 200


def test_applications_that_open_together_make_the_tables_once(environ, make_application):
    """Several processes' worth of applications may race to make the tables."""
    applications = [make_application(environ) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda each: Browser(each).get("/stats/").status_code, applications)
        )
    assert answers == [200] * 4
