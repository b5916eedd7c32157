"""The benchmarks: run.py [--long] [--keep] [row ...]; without rows all of them. Needs `make install`.

Each row is the file of its name. The table is printed at the end, and the same as one line of JSON, which is also
written to .build/bench.json. Fails only when something does not work, never because of a time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "tests" / "e2e")]

from place import Place  # noqa: E402
from report import processor, table  # noqa: E402

from pecan_operator.errors import OperatorError  # noqa: E402

ROWS = (
    "scale_up",
    "enqueue",
    "gap",
    "makespan",
    "progress",
    "ensemble",
    "many_sites",
    "scale_down",
    "many_workflows",
    "finished_workflows",
    "many_models",
    "poison",
    "fairness",
    "victims",
)
LONG_ONLY = {"victims"}


def explain(error: Exception) -> str:
    """In one line what does not work."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, (AssertionError, OperatorError)) else f"{type(error).__name__}: {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--long", action="store_true", help="sizes of production, for hours")
    parser.add_argument("--keep", action="store_true", help="leave the namespace for the next time")
    given = parser.parse_args()
    if unknown := sorted(set(given.rows) - set(ROWS)):
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    rows = given.rows or [row for row in ROWS if given.long or row not in LONG_ONLY]
    place = Place(ROOT / ".build" / "kubeconfig")
    figures, broken = [], []
    try:
        place.open()
        about = {"cpu": processor(), **place.versions(), "python": platform.python_version()}
        for row in rows:
            begin = time.monotonic()
            try:
                if broken:
                    place.clear()
                measured = importlib.import_module(row).measure(place, given.long)
                figures += [{"row": row, **figure.summary()} for figure in measured]
            except Exception as error:
                broken.append(f"{row}: {explain(error)}")
                print(f"bench: {broken[-1]}", file=sys.stderr, flush=True)
            except KeyboardInterrupt:
                # What was measured before is not lost.
                broken.append(f"{row}: interrupted")
                break
            print(f"bench: {row} took {time.monotonic() - begin:.0f} s", flush=True)
    except Exception as error:
        print(f"bench: {explain(error)}", file=sys.stderr)
        return 1
    finally:
        place.close(given.keep)
    print(", ".join(f"{what} {version}" for what, version in about.items()))
    if figures:
        print(table(figures))
    line = json.dumps({"about": about, "long": given.long, "figures": figures, "broken": broken})
    (ROOT / ".build" / "bench.json").write_text(line + "\n")
    print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
