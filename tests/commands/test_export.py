"""`dml export` as it is typed."""

import pytest

from dml.cli import main
from tests.runs.running import flags, train

pytestmark = pytest.mark.usefixtures("eager_training")


@pytest.mark.slow
def test_says_where_the_bundle_is(tmp_path, capsys):
    changes = {"training__epochs": 1, "evaluation__verification": "false"}
    folder = train("glyphs", flags(**changes), tmp_path / "run")
    capsys.readouterr()
    assert main(["export", str(folder.path), "--int8", "--out", str(tmp_path / "small")]) in (0, 2)
    assert main(["export", str(folder.path)]) == 0
    assert f"bundle: {folder.path}/bundle (" in capsys.readouterr().out
    assert main(["export", str(folder.path)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_half_and_int8_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", "run", "--half", "--int8"])
    assert ended.value.code == 2
