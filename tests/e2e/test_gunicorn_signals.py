"""Signals to gunicorn while clients ask: no request is lost, none is counted twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.gunicorn_server import AVATARS, NO_SECOND_KILL, Load, Serve, eventually
from tests.support.paths import REPOSITORY
from tests.support.rows import MATRIX, PRELOAD, WORKER_CLASSES, by_default

ENDS = [
    pytest.param(number, id=number.name)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
]
# What the store holds when the master is about to leave, told by a hook of the user's own.
TELL_AT_EXIT = """
from avatar_telemetry import gunicorn as telemetry
from avatar_telemetry.metrics.merged import MergedStore

def on_exit(server):
    import os
    from pathlib import Path
    families = MergedStore(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])).read([])
    lines = [line for each in families for line in zip(each.prefixes, each.values)]
    Path("exit").write_text("".join(f"{prefix}{value}\\n" for prefix, value in lines))
    telemetry.on_exit(server)
"""


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gthread-import", MATRIX))
def test_reload_loses_no_request(serve: Serve, worker_class: str, preload: bool) -> None:
    """Reloads (HUP) under load: every answered request is counted once."""
    server = serve(worker_class=worker_class, preload_app=preload)
    first = server.await_workers(2)
    with Load(lambda: server.get("/avatar/abc")) as load:
        for _ in range(2):
            load.await_more(20)
            server.reload()
        load.await_more(20)
    assert not set(first) & set(server.workers())
    assert not load.failures
    server.await_requests(load.statuses[200], **AVATARS)
    assert server.value("app_plain_total") == load.answered
    assert server.value("ivatar_requests_in_progress") == 0
    assert len(list(server.runtime_folder.glob("slot-*.lock"))) <= 4
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    ("variable", "value"),
    by_default("profile", [
        pytest.param("AVATAR_TELEMETRY_PRIVACY", "some", id="setting"),
        pytest.param("AVATAR_TELEMETRY_PROFILE", "raising:PROFILE", id="profile"),
        pytest.param("AVATAR_TELEMETRY_PROFILE", "exiting:PROFILE", id="exit"),
    ]),
)  # fmt: skip
def test_reload_to_settings_that_cannot_be_used(serve: Serve, variable: str, value: str) -> None:
    """After a reload to what cannot be used the application goes on, and so do the counts."""
    server = serve()
    (server.path / "raising.py").write_text("raise ValueError")
    (server.path / "exiting.py").write_text("raise SystemExit(3)")
    server.get("/avatar/abc")
    server.await_requests(1)
    server.reload(**{variable: value})
    for number in range(4):
        assert server.get("/avatar/abc").body == b"hello"
        server.await_requests(number + 2, **AVATARS)
    assert f"{variable}='{value}'" in server.log()
    assert server.log().count("Booting worker") == 4


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_bad_reload_of_the_demo(serve: Serve, tmp_path: Path, preload: bool) -> None:
    """The same with the repository's ``wsgi.py``, which is imported anew."""
    server = serve(
        "wsgi:application", pythonpath=str(REPOSITORY), preload_app=preload,
        env={"DEMO_DATA": str(tmp_path / "demo")},
    )  # fmt: skip
    server.reload(AVATAR_TELEMETRY_PRIVACY="some")
    assert server.get("/").status == 200
    server.await_requests(1)
    assert server.log().count("Booting worker") == 4


def test_switched_on_by_a_reload(serve: Serve) -> None:
    """What was off at the start stays off, says so, and the application goes on."""
    told = """
def post_worker_init(worker):
    import os
    worker.log.info("the environment says %s", os.environ["OTEL_SDK_DISABLED"])
"""
    server = serve(env={"OTEL_SDK_DISABLED": "true"}, config=told)
    before = server.workers()
    server.set_raw_env(OTEL_SDK_DISABLED="false")
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    assert server.get("/avatar/abc").body == b"hello"
    assert "when the server started; restart it" in server.log()
    assert "the environment says false" in server.log()
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES[:2]))
def test_more_and_fewer_workers(serve: Serve, worker_class: str) -> None:
    """TTIN and TTOU under load lose no request and make no more slots than workers at once."""
    server = serve(worker_class=worker_class)
    server.await_workers(2)
    with Load(lambda: server.get("/avatar/abc")) as load:
        before = 2
        for count in (3, 4, 3, 2, 1, 2):
            load.await_more(10)
            server.signal(signal.SIGTTIN if count > before else signal.SIGTTOU)
            server.await_workers(count)
            before = count
    assert not load.failures
    server.await_requests(load.statuses[200], **AVATARS)
    assert len(list(server.runtime_folder.glob("slot-*.lock"))) == 4


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_recycled_workers_lose_no_count(serve: Serve, worker_class: str) -> None:
    """With max_requests a count outlives its worker, and the next one counts on in its files."""
    server = serve(worker_class=worker_class, max_requests=20)
    first = server.await_workers(2)
    with Load(lambda: server.get("/avatar/abc")) as load:
        eventually(lambda: load.answered >= 100 and not set(first) & set(server.workers()))
        # gunicorn replaces a worker a moment after it has gone.
        eventually(lambda: server.log().count("Booting worker") >= 4)
    assert not load.failures
    server.await_requests(load.statuses[200], **AVATARS)
    assert len(list(server.runtime_folder.glob("slot-*.lock"))) == 2
    assert server.value("ivatar_requests_in_progress") == 0


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_request_in_flight_at_term_is_answered_and_counted(
    serve: Serve, tmp_path: Path, worker_class: str
) -> None:
    """TERM: the master waits for a request in flight, which is counted before it leaves."""
    server = serve(
        worker_class=worker_class,
        hooks="child_exit, on_starting, post_fork, worker_exit",
        config=TELL_AT_EXIT,
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "named")},
    )
    request = server.hold()
    server.signal(signal.SIGTERM)
    eventually(lambda: "Handling signal: term" in server.log())
    server.let_go()
    answer = request.join()
    assert answer and answer.status == 200
    assert server.wait() == 0
    lines = (server.path / "exit").read_text().splitlines()
    counted = [line for line in lines if line.startswith("ivatar_requests_total")]
    assert counted == ['ivatar_requests_total{method="GET",path="/wait",status_code="200"} 1.0']
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("number", by_default("SIGTERM", ENDS))
def test_end_leaves_nothing(serve: Serve, number: signal.Signals) -> None:
    """TERM, INT and QUIT end the server with status 0; the folder goes with it."""
    server = serve()
    server.get("/avatar/abc")
    folder = server.runtime_folder
    server.signal(number)
    assert server.wait() == 0
    assert not folder.exists()
    eventually(lambda: not server.everybody(), what="the end of all processes")
    assert not server.tracebacks()


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_term_of_one_worker_drains_it(serve: Serve, worker_class: str) -> None:
    """A worker that is told to end finishes its request in a slot that nobody else gets."""
    server = serve(worker_class=worker_class)
    server.await_workers(2)
    request = server.hold()
    busy = server.holder()
    slot = next(slot for slot, pid in server.slots().items() if pid == busy)
    server.signal(signal.SIGHUP)
    eventually(
        lambda: len(server.ready()) == 4 and len(server.slots()) == 3,
        what="the workers of the reload",
    )
    assert server.slots()[slot] == busy
    assert server.value("ivatar_requests_in_progress") == 1
    server.let_go()
    answer = request.join()
    assert answer and answer.text == str(busy)
    server.await_requests(1, path="/wait", status_code="200")
    server.await_workers(2, without=[busy])
    assert server.value("ivatar_requests_in_progress") == 0


def test_quit_of_a_busy_worker_counts_a_failure(serve: Serve) -> None:
    """A request that its worker's quick end broke off is one with status 500."""
    server = serve()
    request = server.hold()
    server.signal(signal.SIGQUIT, server.holder())
    request.join()
    server.await_requests(1, path="/wait", status_code="500")
    server.await_workers(2, without=[server.holder()])
    assert server.value("ivatar_requests_in_progress") == 0


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES[:2]))
def test_worker_timeout(serve: Serve, worker_class: str) -> None:
    """A hanging worker is aborted: its request counts as a failure, and none is in progress."""
    extra = {"threads": 1} if worker_class == "gthread" else {}
    hang = "" if worker_class == "sync" else HANG_MAIN_THREAD
    server = serve(worker_class=worker_class, config=NO_SECOND_KILL + hang, **extra)
    request = server.hold()
    hanging = server.holder()
    if worker_class == "gthread":
        server.signal(signal.SIGUSR2, hanging)
    eventually(lambda: server.expire(hanging) or f"WORKER TIMEOUT (pid:{hanging})" in server.log())
    if worker_class == "gthread":
        server.let_go()
    request.join()
    server.await_workers(2, without=[hanging])
    if worker_class == "sync":
        server.await_requests(1, path="/wait", status_code="500")
    assert server.value("ivatar_requests_in_progress") == 0
    server.get("/avatar/abc")
    server.await_requests(1, **AVATARS)


# A threaded worker hangs where its main thread does. Its pool has a thread by then: one whose start
# is aborted may never end.
HANG_MAIN_THREAD = """
def post_worker_init(worker):
    import signal, time
    worker.tpool.submit(int).result()
    signal.signal(signal.SIGUSR2, lambda number, frame: time.sleep(3600))
"""


# The server is told to end while its worker is in the hook, and the worker learns of it there.
END_IN_THE_HOOK = """
import os, signal
from avatar_telemetry.runtime.lifecycle import RUNTIME

start_worker = RUNTIME.start_worker

def start_slowly(*args, **options):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    start_worker(*args, **options)
    os.kill(os.getppid(), signal.SIGTERM)
    while signal.SIGTERM not in signal.sigpending():
        os.sched_yield()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

RUNTIME.start_worker = start_slowly
"""


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_a_worker_told_to_end_while_it_boots_does(prepare: Serve, worker_class: str) -> None:
    """A signal to end that comes while a worker is in our hook is not lost: nobody is killed."""
    server = prepare(
        worker_class=worker_class, workers=1, graceful_timeout=60, config=END_IN_THE_HOOK
    )
    status, log = server.run_to_end()
    assert status == 0, log
    assert log.count("Booting worker") == log.count("Worker exiting") == 1, log
