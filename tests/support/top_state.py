"""States of ``top`` from pages without a server."""

from __future__ import annotations

from avatar_telemetry.cli.rates import State, derive_state
from avatar_telemetry.cli.samples import EMPTY, Samples, read_samples

TIME = 90_000.0
ROUTES = {
    "/avatar/{digest}": (900, 0, 0.01), "/": (60, 0, 0.05), "/stats/": (20, 10, 2.5),
    "/accounts/password_reset_confirm/{secret}/{another}/": (20, 0, 0.25),
}  # fmt: skip
"""The requests, the errors and the highest duration of each path."""
PAGE = """\
avatar_telemetry_build_info 1
ivatar_requests_in_progress 3
ivatar_avatar_requests_total{status_code="200",size="80",format="png"} 900
ivatar_avatars_generated_total{size="80",format="png",source="uploaded"} 100
ivatar_avatar_generation_seconds_bucket{format="png",source="uploaded",le="0.1"} 100
ivatar_avatar_generation_seconds_bucket{format="png",source="uploaded",le="+Inf"} 100
ivatar_avatar_cache_hits_total{size="80",format="png"} 800
ivatar_avatar_cache_misses_total{size="80",format="png"} 100
ivatar_external_avatar_requests_total{service="gravatar",success="true"} 99
ivatar_external_avatar_requests_total{service="gravatar",success="false"} 1
ivatar_external_avatar_requests_total{service="bluesky",success="false"} 10
ivatar_file_uploads_total{content_type="image/png",success="true"} 10
ivatar_auth_attempts_total{operation="login",success="false"} 8
ivatar_auth_attempts_total{operation="login",success="true"} 2
avatar_telemetry_exporter_up 1
avatar_telemetry_spans_total{result="exported"} 970
avatar_telemetry_spans_total{result="dropped"} 30
avatar_telemetry_folder_free_bytes 2e9
process_cpu_seconds_total 13
gunicorn_workers{state="busy"} 2
gunicorn_workers{state="idle"} 1
gunicorn_backlog 12
gunicorn_worker_requests_in_progress{worker="0"} 2
gunicorn_worker_requests_in_progress{worker="1"} 1
gunicorn_worker_requests_in_progress{worker="2"} 0
"""


def page() -> str:
    """A page on which every part of the display has a value."""
    lines = [PAGE]
    for path, (requests, errors, highest) in ROUTES.items():
        labels = f'method="GET",path="{path}"'
        for status, count in (("200", requests - errors), ("500", errors)):
            lines.append(f'ivatar_requests_total{{{labels},status_code="{status}"}} {count}\n')
        for bound in ("0.01", "0.05", "0.25", "2.5", "+Inf"):
            count = requests if float(bound) >= highest else 0
            lines.append(
                f'ivatar_request_duration_seconds_bucket{{{labels},le="{bound}"}} {count}\n'
            )
    for worker, memory, started in (
        ("0", 70, 60_000), ("1", 300, 89_990), ("2", 80, 60_000), ("master", 40, 59_000),
    ):  # fmt: skip
        of = f'{{worker="{worker}"}}'
        lines.append(f"process_resident_memory_bytes{of} {memory << 20}\n")
        lines.append(f"process_start_time_seconds{of} {started}\nprocess_threads{of} 4\n")
        lines.append(f"process_open_fds{of} 21\n")
    return "".join(lines)


def read(page: str) -> Samples:
    """The samples of a page."""
    samples = read_samples(page)
    assert samples is not None
    return samples


def state_of(page: str, seconds: float = 10.0, **changes: object) -> State:
    """The state of a page all of whose counts were added in an interval."""
    samples = read(page)
    state = derive_state(samples.minus(EMPTY), samples, seconds)
    return {"time": TIME, "since_start": False, **state, **changes}
