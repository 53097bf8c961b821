"""A program of the tests: Django's ORM on the database that its argument names, observed."""

import json
import sys
import tempfile
from pathlib import Path

import django
from django.conf import settings
from opentelemetry import trace

from avatar_telemetry.http.sql import FRAMING, OPERATIONS
from avatar_telemetry.probes import LIBRARY_PROBES
from tests.support.recorder import Recorder
from tests.support.spans import EXPORTER, PROVIDER
from tests.support.wsgi_client import call

probe, database = sys.argv[1], json.loads(sys.argv[2])
settings.configure(
    DATABASES={"default": database},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

trace.set_tracer_provider(PROVIDER)
LIBRARY_PROBES[probe]()
call_command("migrate", verbosity=0)
recorder = Recorder(Path(tempfile.mkdtemp()))


def application(environ, start_response):
    with PROVIDER.get_tracer("test").start_as_current_span("root"):
        User.objects.all().delete()
        with transaction.atomic():
            User.objects.bulk_create([User(username="evelyn"), User(username="bob")])
        assert User.objects.filter(username="evelyn").update(email="evelyn@example.org") == 1
        assert [user.username for user in User.objects.order_by("id").iterator()] == [
            "evelyn",
            "bob",
        ]
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", ["hidden"])
            assert cursor.fetchone() == ("hidden",)
    start_response("200 OK", [])
    return [b""]


EXPORTER.clear()
call(recorder.wrap(application))
connection.close()
spans = [span for span in EXPORTER.get_finished_spans() if span.name != "root"]
print(
    json.dumps(
        {
            "counted": sum(
                recorder.value("ivatar_db_queries_total", operation=operation)
                for operation in OPERATIONS
                if operation not in FRAMING  # these have no span
            ),
            "failures": recorder.value("avatar_telemetry_internal_errors_total"),
            "names": sorted({span.name for span in spans}),
            "spans": len(spans),
            "text": "\n".join(span.to_json() for span in spans),
        }
    )
)
