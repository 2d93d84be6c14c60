"""Which versions of packages are installed."""

import importlib.metadata


def installed_versions(*packages: str) -> dict[str, str]:
    """Returns {package: version} of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
