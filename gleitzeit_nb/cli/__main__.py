"""`python -m gleitzeit_nb.cli`, for a Python whose scripts are not on the path."""

import sys

from gleitzeit_nb.cli import main

sys.exit(main())
