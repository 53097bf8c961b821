"""The runtime of one process: start, worker, reload, fork and end, each in a child of the test."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import prometheus_client
import pytest
from prometheus_client import values

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.log import LOGGER, OPENTELEMETRY
from avatar_telemetry.metrics import folder as folder_module
from avatar_telemetry.metrics.collector import Server
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, holders
from avatar_telemetry.profiles.generic import PROFILE as GENERIC
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime import states
from avatar_telemetry.runtime.lifecycle import NOT_PREPARED, WAS_OFF, Runtime
from avatar_telemetry.runtime.states import Disabled, Master, Prepared, Worker
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware
from tests.support.forked import in_child
from tests.support.real_servers import hold_port
from tests.support.samples import samples_in
from tests.support.waiting import DEADLINE
from tests.support.wsgi_client import call

Environ = dict[str, str]
VALUE_CLASS = values.ValueClass


class Lines(logging.Handler):
    """The lines that a logger writes, by default ours."""

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        super().__init__()
        self.lines: list[str] = []
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    """The environment of a server with a runtime folder of its own."""
    return {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "runtime")}


def server() -> Server:
    return Server(os.getppid())


def managed(environ: Environ) -> Runtime:
    """A runtime as gunicorn's master has it when its workers start."""
    runtime = Runtime(environ)
    runtime.manage()
    runtime.prepare(0, os.geteuid(), os.getegid())
    return runtime


def started(environ: Environ) -> Runtime:
    """The same in its first worker."""
    runtime = managed(environ)
    runtime.start_worker(server(), os.geteuid(), os.getegid())
    return runtime


def worker_of(runtime: Runtime) -> Worker:
    """The state of a runtime that records."""
    assert isinstance(runtime.state, Worker)
    return runtime.state


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]


def wrap(runtime: Runtime, profile: Profile | None = None) -> TelemetryMiddleware:
    return TelemetryMiddleware(application, lambda: runtime.layer(None, profile))


def requests_in(folder: str | Path) -> float:
    samples = samples_in(Path(folder))
    return sum(value for (name, _), value in samples.items() if name == "ivatar_requests_total")


def test_the_master_prepares_the_folder(environ: Environ) -> None:
    """The files that workers share are made before they start, and removed with the master."""

    def work() -> list[str]:
        runtime = managed(environ)
        names = sorted(os.listdir(environ["PROMETHEUS_MULTIPROC_DIR"]))
        runtime.release()
        runtime.release()  # at its exit once more
        return names

    assert {EXPORTER_LOCK, "exporter.wake", "folder.lock"} <= set(in_child(work))
    assert os.listdir(environ["PROMETHEUS_MULTIPROC_DIR"]) == ["folder.lock"]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"AVATAR_TELEMETRY_SIZES": "large"}, id="setting"),
        pytest.param({"AVATAR_TELEMETRY_PROFILE": "nowhere:PROFILE"}, id="profile"),
        pytest.param({"OTEL_PROMETHEUS_ENDPOINT": "192.0.2.1:9"}, id="endpoint"),
    ],
)
def test_what_cannot_be_used_stops_the_start(environ: Environ, bad: Environ) -> None:
    """Before any folder is taken, with a message that names the variable."""

    def work() -> None:
        with pytest.raises(SettingsError, match=next(iter(bad))):
            managed(environ | bad)

    in_child(work)
    assert not Path(environ["PROMETHEUS_MULTIPROC_DIR"]).exists()


def test_all_faults_stop_the_start_together(environ: Environ, tmp_path: Path) -> None:
    """Faults of variables, profile, exporters, port and folder are lines of one message."""
    (tmp_path / "file").touch()
    with hold_port() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ |= {
            "AVATAR_TELEMETRY_PRIVACY": "some", "AVATAR_TELEMETRY_PROFILE": "nowhere:PROFILE",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "missing"),
            "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate", "OTEL_PROMETHEUS_ENDPOINT": address,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file"),
        }  # fmt: skip

        def work() -> Any:
            with pytest.raises(SettingsError) as caught:
                managed(environ)
            return sorted(line.partition("=")[0].partition(":")[0] for line in caught.value.faults)

        assert in_child(work) == sorted(
            environ.keys() - {"OTEL_EXPORT_ENABLED", "OTEL_EXPORTER_OTLP_PROTOCOL"}
        )


def test_ignored_values_are_logged_once_and_replaced(environ: Environ) -> None:
    """An ignored value is one warning at the start, and is removed from the environment,
    where OpenTelemetry's packages would raise for it; a worker warns no more."""
    environ |= {"OTEL_SDK_DISABLED": "1", "OTEL_PROPAGATORS": "b3,pigeon"}

    def work() -> Any:
        log = Lines()
        started(environ)
        names = [line.partition("=")[0] for line in log.lines]
        return names, environ.get("OTEL_SDK_DISABLED"), environ["OTEL_PROPAGATORS"]

    assert in_child(work) == [["OTEL_SDK_DISABLED", "OTEL_PROPAGATORS"], None, "b3"]


def test_the_sdk_has_nothing_to_warn_of(environ: Environ) -> None:
    """Empty members and unknown detectors are out of what the SDK reads for its resources."""
    environ |= {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none", "OTEL_RESOURCE_ATTRIBUTES": "team=images,,",
    }  # fmt: skip

    def work() -> Any:
        os.environ.update(environ)
        log = Lines(OPENTELEMETRY)
        runtime = started(os.environ)  # type: ignore[arg-type]
        recording = worker_of(runtime).recording
        assert recording is not None
        return log.lines, recording._resource().attributes["team"]

    assert in_child(work) == [[], "images"]


def test_the_propagators_can_be_imported(environ: Environ, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's module raises at its import for a propagator that is not installed."""
    environ |= {"OTEL_EXPORT_ENABLED": "true", "OTEL_PROPAGATORS": "pigeon"}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    code = (
        "from avatar_telemetry.runtime.lifecycle import RUNTIME\nimport os\nRUNTIME.manage()\n"
        "RUNTIME.prepare(0, os.geteuid(), os.getegid())\n"
        "from opentelemetry.propagate import get_global_textmap\n"
        "print(sorted(get_global_textmap().fields))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE
    )
    assert ran.stdout.strip() == "['baggage', 'traceparent', 'tracestate']", ran.stderr


def test_an_upgrade_does_not_try_the_port_of_the_old_server(environ: Environ) -> None:
    """The old master's worker still listens there; the new one takes it over later."""

    def work() -> None:
        runtime = Runtime(environ | {"OTEL_PROMETHEUS_ENDPOINT": "192.0.2.1:9"})
        runtime.prepare(os.getppid(), os.geteuid(), os.getegid())
        runtime.release()

    in_child(work)


def test_a_worker_takes_a_slot_and_records(environ: Environ) -> None:
    """Its requests are in the files of its slot; libraries find the folder in the environment."""
    folder = environ.pop("PROMETHEUS_MULTIPROC_DIR")

    def work() -> Any:
        runtime = started(environ | {"PROMETHEUS_MULTIPROC_DIR": folder})
        wrapped = wrap(runtime)
        call(wrapped)
        call(wrapped)
        runtime.state.stop()
        slots = [(each.slot, each.pid == os.getpid()) for each in holders(Path(folder))]
        return slots, requests_in(folder), runtime.environ["PROMETHEUS_MULTIPROC_DIR"]

    assert in_child(work) == [[[0, True]], 2.0, folder]


def test_a_private_folder_is_named_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """prometheus_client finds it there, in the hooks of the master too."""
    monkeypatch.setattr(folder_module, "base_dir", lambda: tmp_path)

    def work() -> Any:
        environ: Environ = {}
        runtime = managed(environ)
        in_master = dict(environ)
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        return in_master, environ, str(next(tmp_path.iterdir()))

    in_master, in_worker, folder = in_child(work)
    assert in_master == in_worker
    assert in_worker == {"PROMETHEUS_MULTIPROC_DIR": folder}


def test_metrics_of_the_application_are_kept_in_the_store(environ: Environ) -> None:
    """The counts of an application that is loaded in the master are in the worker's files."""

    def work() -> Any:
        runtime = Runtime(environ)
        runtime.manage()
        counter = prometheus_client.Counter("mine", "mine", registry=None)
        counter.inc(2)
        runtime.prepare(0, os.geteuid(), os.getegid())
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        counter.inc()
        return samples_in(Path(environ["PROMETHEUS_MULTIPROC_DIR"]))["mine_total", frozenset()]

    assert in_child(work) == 3.0
    assert values.ValueClass is VALUE_CLASS, "the child's own"


@pytest.mark.parametrize(
    ("at_start", "message"), [({}, NOT_PREPARED), ({"OTEL_SDK_DISABLED": "true"}, WAS_OFF)]
)
def test_a_worker_without_a_prepared_master_is_off(at_start: Environ, message: str) -> None:
    """The log says why; an application that is wrapped now stays bare."""

    def work() -> Any:
        log = Lines()
        environ = dict(at_start)
        runtime = Runtime(environ)
        runtime.manage()
        if at_start:
            runtime.prepare(0, os.geteuid(), os.getegid())
            environ.clear()  # a reload has switched it on
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        return isinstance(runtime.state, Disabled), log.lines

    assert in_child(work) == [True, [message]]


def test_a_worker_that_is_switched_off_leaves_the_files(environ: Environ) -> None:
    """A reload with OTEL_SDK_DISABLED: what the application counts stays in this process."""

    def work() -> Any:
        runtime = managed(environ)
        counter = prometheus_client.Counter("mine", "mine", registry=None)
        environ["OTEL_SDK_DISABLED"] = "true"
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        counter.inc()
        return counter._value.get(), sum(
            samples_in(Path(environ["PROMETHEUS_MULTIPROC_DIR"])).values()
        )

    assert in_child(work) == [1.0, 0.0]


def test_a_bad_reload_goes_on_with_the_settings_of_the_start(environ: Environ) -> None:
    """A worker of a reloaded configuration that cannot be used records as before, and says so."""
    environ["AVATAR_TELEMETRY_SIZES"] = "33"

    def work() -> Any:
        log = Lines()
        runtime = managed(environ)
        environ["AVATAR_TELEMETRY_SIZES"] = "large"
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        layer = runtime.layer(None, None)
        return sorted(layer.telemetry.sizes), [line.partition("\n")[0] for line in log.lines]

    sizes, lines = in_child(work)
    assert sizes == [33]
    assert lines == ["avatar_telemetry: the configuration cannot be used"]


def test_a_profile_that_has_gone_is_the_generic_one(environ: Environ) -> None:
    """A profile that was edited after the start costs its own knowledge, not the requests."""

    def work() -> Any:
        environ["AVATAR_TELEMETRY_METRICS_PATH"] = ""
        runtime = started(environ)
        object.__setattr__(worker_of(runtime).settings, "profile", "nowhere:PROFILE")
        wrapped = wrap(runtime)
        call(wrapped)
        layer = runtime.layers[0]
        return layer.telemetry.profile.name, requests_in(environ["PROMETHEUS_MULTIPROC_DIR"])

    assert in_child(work) == [GENERIC.name, 1.0]


def test_a_child_of_the_application_counts_for_itself(environ: Environ) -> None:
    """It takes a slot of its own when it first counts; the parent's request is not its own."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def work() -> Any:
        runtime = started(environ)
        wrapped = wrap(runtime)
        call(wrapped)
        parents = wrapped._layer

        def child() -> Any:
            before = [each.slot for each in holders(folder)]
            call(wrapped)
            assert parents is not None and parents.stale
            assert wrapped._layer is not parents
            assert [each.worker for each in holders(folder)] == [True, False]
            return before, [each.slot for each in holders(folder)]

        slots = in_child(child)
        call(wrapped)
        assert wrapped._layer is parents, "the parent goes on"
        return slots, requests_in(folder)

    assert in_child(work) == [[[0], [0, 1]], 3.0]


def test_the_folder_goes_with_the_master_alone(environ: Environ) -> None:
    """A worker that ends, by whatever code, removes nothing."""

    def work() -> None:
        runtime = managed(environ)
        folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])
        (folder / "counter_s0.db").touch()
        in_child(runtime.release)
        assert (folder / "counter_s0.db").exists()
        runtime.state.finish()  # nothing is exported: no effect
        runtime.release()
        assert not (folder / "counter_s0.db").exists()

    in_child(work)


def test_gauges_of_a_dead_worker_are_cleared(environ: Environ) -> None:
    """The master removes what the dead had in progress; a failure there is counted, not raised."""

    def work() -> Any:
        runtime = managed(environ)
        folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

        def worker() -> int:
            runtime.start_worker(server(), os.geteuid(), os.getegid())
            runtime.layer(None, None).telemetry.metrics.started(0.0)
            assert list(folder.glob("gauge_livesum_s0.db"))
            return os.getpid()

        pid = in_child(worker)
        runtime.state.child_exited(pid)
        left = [path.name for path in folder.glob("gauge_livesum_s0.db")]
        runtime.release()
        folder.rename(folder.with_name("gone"))
        runtime.state.child_exited(pid)
        return left

    assert in_child(work) == []


def test_without_hooks_the_settings_are_checked_when_wrapping() -> None:
    """Under gunicorn the master has checked them, and the worker does not refuse to start."""
    environ = {"AVATAR_TELEMETRY_SIZES": "large"}

    def work() -> None:
        runtime = Runtime(environ)
        with pytest.raises(SettingsError, match="AVATAR_TELEMETRY_SIZES"):
            runtime.check()
        runtime.manage()
        runtime.check()

    in_child(work)


def test_what_was_never_started_can_be_stopped() -> None:
    """A worker whose start failed, or a master that never prepared, ends all the same."""
    runtime = Runtime({})
    for _ in range(2):
        runtime.state.warn_of_unwrapped()
        runtime.state.stop()
        runtime.state.child_exited(os.getpid())
        runtime.state.finish()
        runtime.release()


def test_a_declared_profile_serves_code_outside_of_requests(environ: Environ) -> None:
    """Code that records at import uses the profile of the wrapped application."""

    def work() -> Any:
        runtime = started(environ)
        runtime.declare(Profile("declared"))
        early = runtime.state.telemetry()
        assert early is not None and early is runtime.state.telemetry()
        layer = runtime.layer(None, Profile("wrapped"))
        found = runtime.state.telemetry()
        return early.profile.name, found is layer.telemetry

    assert in_child(work) == ["declared", True]


def test_the_masters_own_values_survive_a_removed_folder(environ: Environ) -> None:
    """The master's counts are on the page again when a worker has ended."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def work() -> Any:
        runtime = managed(environ)
        counter = prometheus_client.Counter("of_master", "Counted by the master.")
        counter.inc(3)
        shutil.rmtree(folder)
        runtime.state.child_exited(0)
        counter.inc()
        found = samples_in(folder, ("master",))
        runtime.release()
        return found["of_master_total", frozenset()], folder.joinpath("counter_master.db").exists()

    assert in_child(work) == [4.0, False]


def test_an_upgrade_does_not_take_a_private_folder_for_a_named_one(
    environ: Environ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old master has set the variable for itself; one that an operator has set stays."""
    monkeypatch.setattr(folder_module, "base_dir", lambda: tmp_path)

    def work(folder: str) -> str | None:
        inherited = {"GUNICORN_PID": "1", "PROMETHEUS_MULTIPROC_DIR": folder}
        Runtime(inherited).manage()
        return inherited.get("PROMETHEUS_MULTIPROC_DIR")

    private = str(tmp_path / "avatar-telemetry-abcdefgh")
    named = environ["PROMETHEUS_MULTIPROC_DIR"]
    assert in_child(lambda: work(private)) is None
    assert in_child(lambda: work(named)) == named


def test_the_probes_of_a_preloaded_application_are_installed(
    environ: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that was given to the wrapper in the master takes effect in the worker."""
    installed: list[str] = []
    monkeypatch.setattr(
        states, "install_probes", lambda profile, off: installed.append(profile.name)
    )

    def work() -> list[str]:
        runtime = managed(environ)
        runtime.declare(Profile("declared"))
        assert installed == []
        runtime.start_worker(server(), os.geteuid(), os.getegid())
        return installed

    assert in_child(work) == ["ivatar", "declared"]


def test_spans_are_recorded_where_none_is_sent(environ: Environ) -> None:
    """With the export on and no exporter of spans the application's span processors get them."""
    environ |= {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }  # fmt: skip

    def work() -> Any:
        runtime = started(environ)
        telemetry = runtime.layer(None, GENERIC).telemetry
        return telemetry.tracing is not None, sorted(
            each for each in os.listdir(environ["PROMETHEUS_MULTIPROC_DIR"]) if "ring" in each
        )

    assert in_child(work) == [True, []]


STACKS = "avatar-telemetry-stacks"


def threads_of_stacks() -> int:
    return [each.name for each in threading.enumerate()].count(STACKS)


def test_slow_requests_are_watched_by_one_thread(environ: Environ) -> None:
    """It starts with the first request, in a forked child again, and ends with the worker."""

    def work() -> Any:
        runtime = started(environ | {"AVATAR_TELEMETRY_SLOW_STACK": "100s"})
        counts = [threads_of_stacks()]
        wrapped = wrap(runtime)
        for served in (wrapped, wrapped, wrap(runtime)):
            call(served)
            counts.append(threads_of_stacks())

        def serve_in_child() -> list[int]:
            inherited = threads_of_stacks()
            call(wrapped)
            return [inherited, threads_of_stacks()]

        counts += in_child(serve_in_child)
        (watching,) = [each for each in threading.enumerate() if each.name == STACKS]
        runtime.state.stop()
        watching.join(20)  # it would wait for longer by itself
        return [*counts, watching.is_alive()]

    assert in_child(work) == [0, 1, 1, 1, 0, 1, False]


def test_no_thread_watches_where_it_is_off(environ: Environ) -> None:
    """The default has no thread; nor has a uWSGI without threads, which logs that."""

    def work(slow_stack: str, *, uwsgi: bool = False) -> Any:
        if uwsgi:
            sys.modules["uwsgi"] = ModuleType("uwsgi")
            sys.modules["uwsgi"].opt = {}  # type: ignore[attr-defined]
        lines = Lines()
        call(wrap(started(environ | {"AVATAR_TELEMETRY_SLOW_STACK": slow_stack})))
        return threads_of_stacks(), states.NO_STACKS in lines.lines

    assert in_child(lambda: work("0")) == [0, False]
    assert in_child(lambda: work("100s", uwsgi=True)) == [0, True]


def test_a_request_in_the_master_starts_nothing(environ: Environ) -> None:
    """An application that calls itself while it is preloaded is counted, and its workers record."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def work() -> Any:
        runtime = Runtime(environ)
        runtime.manage()
        wrapped = wrap(runtime)
        call(wrapped)
        runtime.prepare(0, os.geteuid(), os.getegid())
        call(wrapped)
        assert type(runtime.state) is Master

        def worker() -> list[int]:
            runtime.start_worker(server(), os.geteuid(), os.getegid())
            call(wrapped)
            return [each.slot for each in holders(folder)]

        return in_child(worker), requests_in(folder)

    assert in_child(work) == [[0], 3.0]


def test_a_preloaded_application_that_is_off(environ: Environ) -> None:
    """A reload with OTEL_SDK_DISABLED: it responds itself for the page, and no slot is taken, nor
    by a child of the worker."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def work() -> Any:
        runtime = managed(environ)
        wrapped = wrap(runtime)
        counter = prometheus_client.Counter("mine", "mine", registry=None)
        environ["OTEL_SDK_DISABLED"] = "true"

        def worker() -> str:
            runtime.start_worker(server(), os.geteuid(), os.getegid())
            in_child(counter.inc)
            return call(wrapped, path="/metrics", REMOTE_ADDR="127.0.0.1").content.decode()

        return in_child(worker), requests_in(folder), holders(folder)

    assert in_child(work) == ["fine", 0.0, []]


def test_a_start_that_failed_is_tried_again(
    environ: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first request of the worker; until then it serves, and keeps its slot."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def fail(*args: Any) -> None:
        raise RuntimeError("not yet")

    def work() -> Any:
        runtime = managed(environ)
        with monkeypatch.context() as failing:
            failing.setattr(states, "RelayedPage", fail)
            runtime.start_worker(server(), os.geteuid(), os.getegid())
        failed = type(runtime.state) is Prepared
        call(wrap(runtime))
        return failed, [each.worker for each in holders(folder)], requests_in(folder)

    assert in_child(work) == [True, [True], 1.0]


def test_a_hook_that_records_before_ours(environ: Environ) -> None:
    """The counts of the hook are kept, and the new process is a worker with one slot."""
    folder = Path(environ["PROMETHEUS_MULTIPROC_DIR"])

    def work() -> Any:
        runtime = managed(environ)
        counter = prometheus_client.Counter("mine", "mine", registry=None)

        def worker() -> list[list[Any]]:
            counter.inc()
            runtime.start_worker(server(), os.geteuid(), os.getegid())
            counter.inc()
            return [[each.slot, each.worker] for each in holders(folder)]

        return in_child(worker), samples_in(folder)["mine_total", frozenset()]

    assert in_child(work) == [[[0, True]], 2.0]
