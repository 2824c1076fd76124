"""`python -m aigw.cli`, for where the console command is not on the path."""

import sys

from aigw.cli import main

sys.exit(main())
