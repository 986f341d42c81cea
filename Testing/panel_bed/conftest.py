"""Tests of the bed run on the bed."""

from panel_bed.fixtures import bed  # noqa: F401
