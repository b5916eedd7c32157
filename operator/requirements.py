"""Print the requirements of an extra in pyproject.toml (or of the build), so that an image installs them before our source.

Usage: requirements.py <pyproject.toml> <extra | build-system>
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def requirements(pyproject: Mapping[str, Any], name: str) -> list[str]:
    """The project's own requirements and those of one extra; or the build system's."""
    if name == "build-system":
        return list(pyproject["build-system"]["requires"])
    project = pyproject["project"]
    return [*project["dependencies"], *project["optional-dependencies"][name]]


if __name__ == "__main__":
    print("\n".join(requirements(tomllib.loads(Path(sys.argv[1]).read_text()), sys.argv[2])))  # noqa: T201
