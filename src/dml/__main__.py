"""`python -m dml`."""

import sys

from dml.cli import main

sys.exit(main())
