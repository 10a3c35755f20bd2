"""`python -m lt_cli`, for launchers that take a module."""

import sys

from lt_cli.console import main

if __name__ == "__main__":
    sys.exit(main())
