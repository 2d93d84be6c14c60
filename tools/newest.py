"""Installs dml's test extra in the newest versions, ignoring the upper bounds in pyproject.toml.

`make try-newest` runs this with the Python of an environment of its own. It prints which packages
are newer than in constraints.txt.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([\w,-]+)\])?[^;]*(;.*)?")


def requirements(project: dict, extra: str) -> list[str]:
    """The requirements of dml with an extra, the ones of other extras that it names included."""
    found = list(project["dependencies"])
    for requirement in project["optional-dependencies"][extra]:
        name, extras, _ = REQUIREMENT.fullmatch(requirement).groups()
        if name == project["name"]:
            for other in extras.split(","):
                found += requirements(project, other)
        else:
            found.append(requirement)
    return found


def without_version(requirement: str) -> str:
    name, extras, marker = REQUIREMENT.fullmatch(requirement).groups()
    return name + (f"[{extras}]" if extras else "") + (marker or "")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = sorted(set(map(without_version, requirements(project, "test"))))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
    subprocess.run([*pip, *packages], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, tested = line.split("==")
        try:
            installed = version(name).split("+")[0]
        except PackageNotFoundError:  # no longer needed
            continue
        if installed != tested:
            print(f"{name}: {installed} (constraints.txt: {tested})")


if __name__ == "__main__":
    main()
