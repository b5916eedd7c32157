"""Entry point of `python3 hack/local-cluster <command>`."""

from __future__ import annotations

import sys

from local_cluster.cli import main

sys.exit(main(sys.argv[1:]))
