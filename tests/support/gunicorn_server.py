"""A real gunicorn for a test: in a folder of its own, asked over HTTP, never left behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGQUIT, SIGTERM, SIGUSR2
from threading import Event, Lock, Thread
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.descriptors import open_files
from tests.support.paths import APPS
from tests.support.waiting import DEADLINE as DEADLINE
from tests.support.waiting import eventually as eventually

SHARED_MEMORY = Path("/dev/shm")
START = "avatar_telemetry: metrics at"
"""The beginning of the line that a healthy start logs."""
HOST = "a-host"
"""Instance that servers report, unless a test names another."""
PATIENT = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": "300",
    "OTEL_BSP_EXPORT_TIMEOUT": "0",  # no limit besides; the default is 30 s
    "OTEL_BLRP_EXPORT_TIMEOUT": "0",
    "OTEL_METRIC_EXPORT_TIMEOUT": "300000",
    "AVATAR_TELEMETRY_FLUSH_TIMEOUT": "60",
}
"""The product's bounds, which must not expire where any process may be stopped for a while."""
HOOKS = "child_exit, on_exit, on_starting, post_fork, worker_abort, worker_exit"
LISTENING = re.compile(r"Listening at: (\S+) \((\d+)\)")
# gunicorn's workers lose a signal that comes before they have their own handlers.
TELL_READY = """
before_ready = globals().get("post_worker_init", lambda worker: None)

def post_worker_init(worker):
    before_ready(worker)
    worker.log.info("Worker is ready")
"""
# A second after SIGABRT gunicorn kills; on a busy machine the worker may not have had its turn yet.
NO_SECOND_KILL = """
def when_ready(server):
    import signal
    kill = server.kill_worker
    server.kill_worker = lambda pid, sig: sig == signal.SIGKILL or kill(pid, sig)
"""
READY = re.compile(r"\[(\d+)\] \[INFO\] Worker is ready")
STARTING = re.compile(r"\[(\d+)\] \[INFO\] Starting gunicorn")

AVATARS = {"path": "/avatar/{id}", "status_code": "200"}
"""The series of the requests that ``avatars:application`` answers well."""
Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


def total(metrics: Metrics, sample: str, **labels: str) -> float:
    """The sum of a sample over all series that bear these labels."""
    wanted = labels.items()
    return sum(
        value for (name, have), value in metrics.items() if name == sample and wanted <= have
    )


def series(metrics: Metrics, sample: str, label: str) -> dict[str, float]:
    """The values of a sample by one label."""
    return {dict(have)[label]: value for (name, have), value in metrics.items() if name == sample}


def parse(page: str) -> Metrics:
    """A page in the text format; each series must stand on it once."""
    metrics: Metrics = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in metrics, f"{key} stands twice on the page"
            metrics[key] = sample.value
    return metrics


def scrape_port(port: int, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Ask the separate port; status 0 where none listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", "/metrics", headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def await_port(port: int) -> Metrics:
    """The page of the separate port, once a worker serves it."""
    return parse(eventually(lambda: scrape_port(port)[1], what="the separate port"))


Serve = Callable[..., "GunicornServer"]
"""Makes a server; see ``conftest.py``."""


class Answer:
    """The response that a client received."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = dict(response.getheaders())
        self.cookies = response.headers.get_all("Set-Cookie", [])
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class GunicornServer:
    """One gunicorn, with everything that it starts.

    Args:
        folder: its working directory; the configuration and the log are written there.
        application: ``module:NAME`` under ``apps``.
        workers: how many.
        worker_class: gunicorn's word.
        unix: listen on a unix socket.
        env: changes to the environment; ``None`` removes a variable.
        config: more lines of ``gunicorn.conf.py``.
        hooks: what is imported from ``avatar_telemetry.gunicorn``.
        arguments: of gunicorn's command line.
        interpreter: options of Python itself.
        options: what is imported from there or set besides, as gunicorn's settings.
    """

    def __init__(
        self,
        folder: Path,
        application: str = "avatars:application",
        *,
        workers: int = 2,
        worker_class: str = "sync",
        unix: bool = False,
        env: Mapping[str, str | None] | None = None,
        config: str = "",
        hooks: str = HOOKS,
        arguments: tuple[str, ...] = (),
        interpreter: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder
        self._application = application
        self._arguments = arguments
        self._interpreter = interpreter
        bind = f"unix:{folder}/socket" if unix else "127.0.0.1:0"
        options = {
            "bind": bind, "workers": workers, "worker_class": worker_class,
            "control_socket_disable": True, "graceful_timeout": 30, "timeout": int(DEADLINE),
            "keepalive": int(DEADLINE),  # which gevent's workers wait for a first request, too
            **options,
        }  # fmt: skip
        if worker_class == "gthread":
            options.setdefault("threads", 4)
        lines = [f"from avatar_telemetry.gunicorn import {hooks}"] if hooks else []
        lines += [f"{name} = {value!r}" for name, value in options.items()]
        self.configuration = folder / "gunicorn.conf.py"
        self.configuration.write_text("\n".join([*lines, config, TELL_READY]))
        self._workers = workers
        self.environment = _environment(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""
        self._folders: set[Path] = set()
        self._found: Path | None = None

    # Its life

    def start(self) -> GunicornServer:
        """Start it and wait until it answers."""
        self.launch()
        self.await_ready()
        return self

    def launch(self) -> None:
        """Start it and wait for nothing."""
        with open(self.path / "log", "ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.path, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def command(self) -> list[str]:
        """Its command line."""
        # Not "-m gunicorn": an upgrade (USR2) starts the script again, as it was named.
        script = os.path.join(sysconfig.get_path("scripts"), "gunicorn")
        program = [sys.executable, *self._interpreter, script, "-c", str(self.configuration)]
        return [*program, *self._arguments, self._application]

    def await_ready(self) -> None:
        """Wait until all its workers have come up and one of them answers."""
        self.await_listening()
        eventually(self.reachable, what="gunicorn")
        self.folder()

    def await_listening(self) -> None:
        """Wait until all its workers have come up; ask nothing."""

        def listens() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"gunicorn ended at its start:\n{self.log()}"
            listening = LISTENING.findall(self.log())
            if listening:
                self._address = listening[-1][0]
            return len(self.ready()) >= self._workers

        eventually(listens, what="gunicorn")

    def run_to_end(self) -> tuple[int, str]:
        """Start it and wait until it ends by itself; status and output."""
        self.launch()
        status = self.wait()
        return status, self.log()

    def wait(self) -> int:
        """Wait until the first master has ended; its status."""
        assert self._process is not None
        try:
            return self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"gunicorn goes on:\n{self.log()}") from None

    def signal(self, number: int, pid: int | None = None) -> None:
        """Send a signal to the first master, or to another process of this server."""
        os.kill(pid or self.pid, number)

    def close(self) -> None:
        """End everything that was started, whatever state it is in."""
        if self._process is None:
            return
        self.folder()
        for master in self.masters():
            with suppress(ProcessLookupError):  # it may be about to end
                os.kill(master, SIGQUIT)
        try:
            eventually(lambda: not self._reap())
        except AssertionError:
            os.killpg(self.pid, SIGKILL)
            eventually(lambda: not self._reap())
            raise AssertionError(f"gunicorn had to be killed:\n{self.log()}") from None
        finally:
            self._process.wait(DEADLINE)
            left = self.folders_left()
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)
        assert not left, f"folders were left: {left}\n{self.log()}"

    # What it says

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def bound(self) -> str:
        """The address that it listens on, as gunicorn's setting ``bind`` takes it."""
        return self._address.removeprefix("http://")

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Answer:
        """GET a path over a connection of its own."""
        return self.request("GET", path, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
    ) -> Answer:
        """Send one request over a connection of its own."""
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def connect(self, timeout: float = DEADLINE) -> http.client.HTTPConnection:
        """A connection that has not been opened yet."""
        if self._address.startswith("unix:"):
            return UnixConnection(self._address[5:], timeout)
        return http.client.HTTPConnection(self._address.removeprefix("http://"), timeout=timeout)

    def hold(self, name: str = "held") -> Background:
        """A request that stays inside the application until :meth:`let_go`."""
        request = Background(lambda: self.get(f"/wait?name={name}"))
        self.holder(name)
        return request

    def holder(self, name: str = "held") -> int:
        """The process in which that request is."""
        path = self.path / f"{name}.in"
        return int(eventually(lambda: path.exists() and path.read_text(), what="the request"))

    def let_go(self, name: str = "held") -> None:
        """Let that request end."""
        (self.path / f"{name}.go").touch()

    def reachable(self) -> bool:
        """Return whether a worker responds, by a request that is not counted."""
        try:
            return self.request("GET", "/metrics", timeout=DEADLINE).status in (200, 404)
        except (OSError, http.client.HTTPException):
            return False

    def metrics(self) -> Metrics:
        """Scrape it."""
        answer = self.get("/metrics")
        assert answer.status == 200, (answer.status, self.log())
        return parse(answer.text)

    def value(self, sample: str, **labels: str) -> float:
        """The sum of a sample, by a scrape of its own."""
        return total(self.metrics(), sample, **labels)

    def requests(self, **labels: str) -> float:
        """The number of counted requests."""
        return self.value("ivatar_requests_total", **labels)

    def await_requests(self, number: float, **labels: str) -> None:
        """Wait until so many requests are counted; more are a fault."""

        def counted() -> bool:
            now = self.requests(**labels)
            assert now <= number, f"{now} requests are counted, {number} were sent"
            return now == number

        eventually(counted, what=f"the count of {number} requests")

    def await_idle(self) -> None:
        """Wait until no request is in progress: all of them have counted all that they count."""
        eventually(
            lambda: self.value("ivatar_requests_in_progress") == 0, what="the end of all requests"
        )

    def log(self) -> str:
        """Everything that it has printed."""
        path = self.path / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Its processes

    def tracebacks(self) -> bool:
        """Return whether the log has a traceback other than gunicorn's own at SIGINT and SIGQUIT,
        which interrupt a request whose response the client may have read to its end."""
        return self.log().count("Traceback") > self.log().count("in handle_quit")

    def masters(self) -> list[int]:
        """The masters that run, in the order of their start."""
        return self._masters(self._group())

    def workers(self, master: int | None = None) -> list[int]:
        """The living workers, of all masters or of one."""
        group = self._group()
        masters = self._masters(group)
        return sorted(
            pid for pid, parent in group.items()
            if pid not in masters and (parent == master if master else parent in masters)
        )  # fmt: skip

    def ready(self) -> set[int]:
        """The workers that have come up, ended ones too."""
        return set(map(int, READY.findall(self.log())))

    def await_workers(self, number: int, without: list[int] | None = None) -> list[int]:
        """Wait until exactly so many workers hold a slot, none of these among them."""
        gone = set(without or ())

        def settled() -> list[int]:
            workers = self.workers()
            holders = sorted(self.slots().values())
            usable = len(workers) == number and not gone & set(workers)
            return workers if usable and self.ready() >= set(workers) == set(holders) else []

        return eventually(settled, what=f"{number} workers")

    def await_other_workers(self, number: int, without: list[int]) -> None:
        """Wait until so many workers have come up, none of these among them; slots or not."""

        def settled() -> bool:
            workers = set(self.workers())
            return len(workers) == number and workers <= self.ready() - set(without)

        eventually(settled, what=f"{number} workers")

    def await_end_of_orphans(self) -> None:
        """Wait until all workers whose master was killed have ended."""

        def ended() -> bool:
            self.reachable()  # a sync worker looks for its master after a request
            group = self._group()
            return all(parent in group for pid, parent in group.items() if pid not in masters)

        masters = self.masters()
        eventually(ended, what="the end of the workers")

    def set_raw_env(self, **variables: str) -> None:
        """Set variables in the configuration; a reload applies them."""
        base = self.configuration.read_text().partition("raw_env =")[0]
        pairs = [f"{name}={value}" for name, value in variables.items()]
        self.configuration.write_text(f"{base}raw_env = {pairs!r}\n")

    def reload(self, **variables: str) -> None:
        """Reload it (HUP) with these variables, and wait until all workers are new ones."""
        before = self.await_workers(self._workers)
        self.set_raw_env(**variables)
        self.signal(SIGHUP)
        self.await_workers(self._workers, without=before)

    def expire(self, worker: int) -> None:
        """Make a worker one that has not reported to its master for longer than its timeout."""
        with suppress(FileNotFoundError):  # it has ended
            for number, target in open_files(worker).items():
                if "wgunicorn-" in target:
                    os.utime(f"/proc/{worker}/fd/{number}", (-1e6, -1e6))

    def upgrade(self) -> tuple[int, int]:
        """Start a second master (USR2); both pids, once all workers of both serve."""
        (old,) = self.masters()
        self.signal(SIGUSR2, old)
        eventually(lambda: len(self.masters()) == 2, what="the second master")
        self.await_workers(2 * self._workers)
        (new,) = (pid for pid in self.masters() if pid != old)
        return old, new

    def end(self, master: int, number: int = SIGTERM) -> None:
        """End a master by a signal, and wait until it has ended."""
        self.signal(number, master)
        eventually(lambda: master not in self._reap(), what="the end of a master")

    def exporter(self, without: int = 0) -> int:
        """Wait until one exporter runs, and has started all that it does; its pid.

        Args:
            without: the pid of one that was killed, which nobody notices without requests.
        """
        folder = self.runtime_folder

        def one() -> int:
            if without and exporters(folder) in ([], [without]):
                self.reachable()
            return exporter_of(folder, without)

        return eventually(one, what="the exporter")

    def kill_exporter(self) -> int:
        """Kill the exporter (SIGKILL), and wait for the next one; its pid."""
        dead = self.exporter()
        os.kill(dead, SIGKILL)
        return self.exporter(without=dead)

    def everybody(self) -> list[int]:
        """All processes of this server, orphans and the application's children too."""
        return sorted(self._group())

    def _masters(self, group: Mapping[int, int]) -> list[int]:
        started = map(int, STARTING.findall(self.log()))
        return [pid for pid in dict.fromkeys(started) if pid in group]

    def _group(self) -> dict[int, int]:
        return {pid: parent for pid, parent, group in _processes() if group == self.pid}

    def _reap(self) -> list[int]:
        assert self._process is not None
        self._process.poll()
        return self.everybody()

    # Its runtime folder

    def folder(self) -> Path | None:
        """The runtime folder that a living master of this server stands in the record of."""
        masters = set(self.masters())
        named = self.environment.get("PROMETHEUS_MULTIPROC_DIR")
        if self._found and masters & set(recorded_masters(self._found)):
            return self._found
        found = None
        for path in [Path(named)] if named else SHARED_MEMORY.glob("avatar-telemetry-*"):
            if masters & set(recorded_masters(path)):
                found = path
                self._folders |= {path} if not named else set()
        self._found = found
        return found

    @property
    def runtime_folder(self) -> Path:
        """The same where there must be one."""
        folder = self.folder()
        assert folder is not None, self.log()
        return folder

    def folders_left(self) -> list[Path]:
        """The private folders that this server has had and that are still there."""
        return sorted(path for path in self._folders if path.exists())

    def slots(self) -> dict[int, int]:
        """Slot -> pid of the process that holds its lock, as the kernel says."""
        held = {}
        locks = _locks()
        for path in (self.folder() or self.path).glob("slot-*.lock"):
            pids = lock_holders(path, locks)
            assert len(pids) <= 1, f"slot {path} is held by {pids}"
            if pids:
                held[int(path.stem.removeprefix("slot-"))] = pids[0]
        return held


class Load:
    """Clients that ask one after the other until they are stopped, and remember what they got.

    Args:
        ask: sends one request; what it returns is counted.
        clients: how many at once.
    """

    def __init__(self, ask: Callable[[], Answer], clients: int = 4) -> None:
        self._ask = ask
        self._stopped = Event()
        self._lock = Lock()
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._threads = [Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    @property
    def answered(self) -> int:
        """The number of responses that the clients have read to their end."""
        return sum(self.statuses.values())

    def await_more(self, number: int) -> None:
        """Wait until so many more requests were answered."""
        goal = self.answered + number
        eventually(lambda: self.answered >= goal, what=f"{number} more answers")

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                answer = self._ask()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(repr(error))
            else:
                with self._lock:
                    self.statuses[answer.status] += 1


class Background:
    """One request that is under way while the test goes on."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> Answer | None:
        """Wait for its end; ``None`` where it failed."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the request goes on"
        return self.answer

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except (OSError, http.client.HTTPException) as error:
            self.error = error


def exporters(folder: Path) -> list[int]:
    """The exporters of a runtime folder: processes whose command line says so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[4:7] == [b"avatar-telemetry", b"exporter", os.fsencode(folder)]:
                found.append(int(path.parent.name))
    return found


def exporter_of(folder: Path, without: int = 0) -> int:
    """The one exporter of a runtime folder that has started all that it does; 0 where none has.

    The lock holds the number of starts since one that succeeded: a kill before that delays the next
    start, and after three there is a thread instead.
    """
    found = [pid for pid in exporters(folder) if pid != without]
    started = (folder / "exporter.lock").read_text().strip() == "0"
    return found[0] if started and len(found) == 1 else 0


def lock_holders(path: Path, locks: list[list[str]] | None = None) -> list[int]:
    """The holders of a lock (flock) on a file, as the kernel reports them.

    Args:
        path: the file.
        locks: the kernel's rows, where they have been read before.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return []
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = _locks() if locks is None else locks
    return list({int(row[-4]) for row in rows if row[-3] == device and "->" not in row})


def _locks() -> list[list[str]]:
    """The kernel's rows, once they are the same twice: it shows them page by page, so that one is
    missing or there twice that moved to another page meanwhile."""
    before = None
    while before != (rows := Path("/proc/locks").read_text(encoding="ascii")):
        before = rows
    return [line.split() for line in rows.splitlines()]


def recorded_masters(folder: Path) -> list[int]:
    """The masters that the record of a runtime folder names."""
    try:
        record = json.loads((folder / "folder.lock").read_bytes())
        return [pid for pid, _ in record["masters"]]
    except (OSError, ValueError, KeyError):
        return []


def is_running(pid: int) -> bool:
    """Return whether there is such a process that has not ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return status.rpartition(") ")[2][0] not in "ZX"


def _processes() -> Iterator[tuple[int, int, int]]:
    """Pid, parent and process group of everything that runs; zombies do not."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    status = file.read(512)
            except OSError:
                continue
            state, parent, group = status.rpartition(b") ")[2].split(maxsplit=3)[:3]
            if state not in b"ZX":
                yield int(name), int(parent), int(group)


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "AVATAR_TELEMETRY_", "PROMETHEUS_", "GUNICORN_", "COV_"))
    }  # fmt: skip
    kept["AVATAR_TELEMETRY_PROFILE"] = "avatar_telemetry.profiles.generic:PROFILE"
    kept |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(APPS), "HOSTNAME": HOST, **PATIENT}
    kept |= {name: value for name, value in changes.items() if value is not None}
    return {name: value for name, value in kept.items() if changes.get(name, "") is not None}
