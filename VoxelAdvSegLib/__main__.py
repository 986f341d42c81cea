"""`python -m VoxelAdvSegLib`: the command line."""

import sys

from VoxelAdvSegLib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
