"""How nbval compares the notebooks: everything but the standard error stream."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Leave stderr out: libraries write process ids and progress there, which no two runs share."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
