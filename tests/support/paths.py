"""Folders of the repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
DEPLOY = REPOSITORY / "deploy"
APPS = REPOSITORY / "tests" / "support" / "apps"
"""Applications that test servers are started with, as top-level modules."""
