"""The tracing of one worker: sampler, tracer provider, propagators and request tracing.

pipeline = Pipeline(settings, resource, key, guard, sink)
telemetry = Telemetry(..., tracing=pipeline.tracing(profile))
pipeline.stop(deadline)
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace as trace_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.version import VERSION
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.excluded import ExcludedUrls
from avatar_telemetry.http.forwarded import Proxies
from avatar_telemetry.http.headers import HeaderCapture
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.http.semconv import HttpAttributes
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.tracing.budget import Budget
from avatar_telemetry.tracing.incoming import Incoming, make_propagator
from avatar_telemetry.tracing.keep import Keeper
from avatar_telemetry.tracing.provider import LightTracerProvider
from avatar_telemetry.tracing.sampling import make_sampling
from avatar_telemetry.tracing.span import SpanSink
from avatar_telemetry.wsgi.request import sent_by_client
from avatar_telemetry.wsgi.request_spans import RequestTracing

SCOPE = "avatar_telemetry"


class Pipeline:
    """The components between the spans of requests and their sink.

    Create it in the worker, after the fork.

    Args:
        settings: the settings of traces.
        resource: the resource of the spans.
        key: the key of the hashes of personal data.
        guard: the guard that reports internal failures.
        sink: the sink of the spans.
        flush: see :class:`~avatar_telemetry.tracing.provider.LightTracerProvider`.
        budget: the budget of kept requests; ``None``: one of this process.
    """

    def __init__(
        self,
        settings: Settings,
        resource: Resource,
        key: bytes,
        guard: Guard,
        sink: SpanSink,
        flush: Callable[[float], bool] = lambda deadline: True,
        budget: Budget | None = None,
    ) -> None:
        self._settings = settings
        self._key = key
        privacy = Privacy(settings.privacy, key, sent=sent_by_client)
        self.sink = sink
        sampling = make_sampling(settings.sampler, settings.sampler_argument)
        keeper = None
        if settings.keep is not None:
            budget = budget or Budget(None, lambda: 0, guard)
            keeper = Keeper(settings.keep, sampling, budget.take)
        self.provider = LightTracerProvider(
            sampling,
            resource,
            _limits(settings),
            self.sink,
            privacy.describe,
            privacy.message,
            flush,
            guard,
            keeper,
        )
        self._propagator = make_propagator(settings.propagators)

    def publish(self) -> None:
        """Set the global propagator and, unless the application has its own, tracer provider."""
        # Not at the top: its import reads OTEL_PROPAGATORS, and raises for an unknown name.
        from opentelemetry import propagate

        propagate.set_global_textmap(self._propagator)
        if isinstance(trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider):
            trace_api.set_tracer_provider(self.provider)

    def tracing(self, profile: Profile) -> RequestTracing:
        """Return the request tracing of one application.

        Args:
            profile: the profile of the application.
        """
        settings = self._settings
        privacy = Privacy(settings.privacy, self._key, profile.query)
        sanitized, mode = settings.sanitize_headers, settings.privacy
        return RequestTracing(
            self.provider.get_tracer(SCOPE, VERSION),
            Incoming(self._propagator, settings.trust_incoming),
            HttpAttributes(
                settings.semconv, privacy, Proxies(settings.trusted_proxies),
                all_methods=settings.capture_all_methods,
            ),
            privacy,
            profile,
            ExcludedUrls(settings.excluded_urls),
            HeaderCapture("request", settings.capture_request_headers, sanitized, mode),
            HeaderCapture("response", settings.capture_response_headers, sanitized, mode),
            self.sink,
        )  # fmt: skip

    def stop(self, deadline: float) -> None:
        """Shut down the user's processors, and return by a time of ``time.monotonic()``."""
        self.provider.stop(deadline)

    def renew(self) -> None:
        """Prepare a forked child: no span of the parent is sent again, and no id is used twice."""
        self.provider.renew()
        self.sink.process = object()


def _limits(settings: Settings) -> SpanLimits:
    shared_limit = settings.max_attributes
    length = settings.max_attribute_length
    span_length = settings.max_span_attribute_length

    def own(limit: int | None, shared: int | None) -> int:
        chosen = shared if limit is None else limit
        return SpanLimits.UNSET if chosen is None else chosen

    return SpanLimits(
        max_attributes=shared_limit,
        max_events=settings.max_span_events,
        max_links=settings.max_span_links,
        max_span_attributes=own(settings.max_span_attributes, shared_limit),
        max_event_attributes=own(settings.max_event_attributes, shared_limit),
        max_link_attributes=own(settings.max_link_attributes, shared_limit),
        max_attribute_length=own(length, None),
        max_span_attribute_length=own(span_length, length),
    )
