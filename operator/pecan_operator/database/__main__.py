"""`python -m pecan_operator.database`."""

import sys

from pecan_operator.database.job import main

sys.exit(main())
