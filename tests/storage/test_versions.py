"""Which versions are installed."""

import numpy as np

from dml._storage.versions import installed_versions


def test_names_only_what_is_installed():
    assert installed_versions("numpy", "no-such-package") == {"numpy": np.__version__}
