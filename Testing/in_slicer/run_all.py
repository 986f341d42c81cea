"""Runs all cases of this folder inside a real Slicer, and ends it with 0 when all pass; see docs/testing.md."""

import sys
import unittest
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def suite():
    """The cases of every *_in_slicer.py."""
    return unittest.TestLoader().discover(str(FOLDER), pattern="*_in_slicer.py")


if __name__ == "__main__":
    import slicer

    done = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite())
    slicer.util.exit(0 if done.wasSuccessful() and done.testsRun else 1)
