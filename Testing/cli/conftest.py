"""Children that read scans are kept from one command to the next: starting them anew would take most of the time."""

from collections.abc import Iterator

import pytest

from VoxelAdvSegLib.data.reading import reading_apart


@pytest.fixture(scope="package", autouse=True)
def readers() -> Iterator[None]:
    with reading_apart():
        yield
