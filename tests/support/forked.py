"""Work in a forked child of the test: what it changes in its process ends with it."""

from __future__ import annotations

import json
import os
import traceback
import warnings
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any]) -> Any:
    """Run a function in a forked child.

    Args:
        work: its result is sent as JSON.

    Returns:
        The result.

    Raises:
        AssertionError: the child raised, with its traceback, or ended otherwise.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads beside the fork are intended
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _work(work, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as report:
        text = report.read()
    _, status = os.waitpid(child, 0)
    assert text, f"the child ended with status {os.waitstatus_to_exitcode(status)}"
    result, error = json.loads(text)
    assert error is None, error
    return result


def _work(work: Callable[[], Any], writing: int) -> None:
    try:
        report = json.dumps([work(), None])
    except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
        report = json.dumps([None, traceback.format_exc()])
    with os.fdopen(writing, "w") as pipe:
        pipe.write(report)
