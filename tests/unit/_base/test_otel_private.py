"""Private names of OpenTelemetry: each is there, and no other module depends on one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from opentelemetry.context import Context, get_current
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.sdk.trace import TracerProvider

import avatar_telemetry
from avatar_telemetry._base import otel_private

PACKAGE = Path(avatar_telemetry.__file__).parent


@pytest.mark.parametrize("path", otel_private.PATHS)
def test_a_private_name_exists(path: str) -> None:
    """The installed OpenTelemetry has the class, function or method."""
    try:
        otel_private.look_up(path)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"OpenTelemetry has no {path} any more ({error}): see otel_private.py")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelled import fails as from any module."""
    with pytest.raises(AttributeError, match="NoSuchName"):
        otel_private.NoSuchName  # noqa: B018


def test_the_provider_has_the_active_processor() -> None:
    """The processor of a provider takes the hooks of a processor."""
    provider = TracerProvider(shutdown_on_exit=False)
    processor = otel_private.active_processor(provider)
    assert callable(processor.on_start) and callable(processor._on_ending)
    provider.shutdown()


def imports(path: Path) -> list[str]:
    """All dotted names that a module imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_no_other_module_imports_a_private_name() -> None:
    """A name behind an underscore, or in a module behind one, is imported in otel_private alone."""
    found = {
        (path.name, name)
        for path in PACKAGE.rglob("*.py")
        for name in imports(path)
        if name.startswith(("opentelemetry.", "prometheus_client."))
        and re.search(r"\._(?!_)", name)
    }
    assert {path for path, _ in found} == {"otel_private.py"}, found


def test_the_context_variable_is_the_current_context() -> None:
    """The context that is set is OpenTelemetry's current one until it is reset."""
    variable = otel_private.context_variable()
    mine = Context({"mine": 1})
    token = variable.set(mine)
    assert get_current() is mine
    variable.reset(token)
    assert get_current() is not mine


def test_another_implementation_of_the_context_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_PYTHON_CONTEXT may name one whose contexts are elsewhere."""

    class Other(ContextVarsRuntimeContext):
        pass

    other = Other()
    monkeypatch.setattr("opentelemetry.context._RUNTIME_CONTEXT", other)
    variable = otel_private.context_variable()
    mine = Context({"mine": 1})
    token = variable.set(mine)
    assert other.get_current() is mine
    variable.reset(token)
    assert other.get_current() is not mine
