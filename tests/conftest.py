"""What several files of tests ask for by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import open_browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Give a browser that puts downloads into the test's own folder."""
    with open_browser(tmp_path) as driver:
        yield driver
