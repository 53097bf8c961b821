"""An application of Flask, wrapped."""

from flask import Flask

from avatar_telemetry import instrument

site = Flask(__name__)


@site.get("/users/<int:id>")
def show_user(id: int) -> str:
    return str(id)


application = instrument(site)
