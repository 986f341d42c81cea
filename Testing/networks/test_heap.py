"""Freed memory is used again, not asked anew of the kernel."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from VoxelAdvSegLib.networks.heap import keep_freed_memory
assert not sys.argv[1:] or keep_freed_memory()
def touch():
    maps = [torch.empty(10 * 2**20).fill_(1) for _ in range(6)]  # 40 MB each, as the features of a step
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_large_blocks_are_used_again():
    counts = [
        int(subprocess.run([sys.executable, "-c", FAULTS, *more], capture_output=True, text=True, check=True).stdout)
        for more in ([], ["keep"])
    ]
    pages = 4 * 6 * 40 * 2**20 // 4096
    assert counts[0] > 0.9 * pages  # as it is, every page is fetched every time
    assert counts[1] < 0.5 * pages  # some are, where small things lie between the large ones
