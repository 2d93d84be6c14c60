"""The page in a browser: it filters without a script, and the console stays empty."""

import re
import subprocess

import pytest

from dml.report import render_report
from tests.browser import CHROMIUM
from tests.report.example import example

PROBE = """<script>
const shown = {};
for (const input of document.querySelectorAll("input[name=first]")) {
  input.click();
  const all = [...document.querySelectorAll("#retrieval .queries > li")];
  shown[input.value] = all.filter(one => one.getClientRects().length).length;
}
document.querySelector("input[value=all]").click();
const classes = document.querySelector("select[name=class]");
for (const option of classes.options) {
  classes.value = option.value;
  const all = [...document.querySelectorAll("#retrieval .queries > li")];
  const visible = all.filter(one => one.getClientRects().length);
  shown["class" + option.value] = visible.length;
  if (option.value != "all" && visible.some(one => one.dataset.code != option.value))
    console.error("a query of another class is shown");
}
const spot = document.querySelector(".spot");
spot.focus();
shown["spot"] = Number(getComputedStyle(spot.querySelector("image")).visibility == "visible");
const root = document.documentElement;
root.setAttribute("data-shown", JSON.stringify(shown));
root.setAttribute("data-wide", root.scrollWidth > innerWidth);
</script></body>"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Returns the page of an example as the browser has it after each filter was clicked."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    html = re.sub(
        r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", render_report(example(spread=1.5))
    )
    folder = tmp_path_factory.mktemp("browser")
    (folder / "report.html").write_text(html.replace("</body>", PROBE), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={folder}/profile", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, f"file://{folder}/report.html"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.stdout, done.stderr


def counts(opened):
    """Returns how many queries each choice shows."""
    found = re.search(r'data-shown="([^"]*)"', opened[0])[1]
    return {name: int(n) for name, n in re.findall(r"&quot;(\w+)&quot;:(\d+)", found)}


@pytest.mark.slow
def test_filters_show_right_and_wrong_queries(opened):
    shown = dict(
        re.findall(r"&quot;(\w+)&quot;:(\d+)", re.search(r'data-shown="([^"]*)"', opened[0])[1])
    )
    assert int(shown["all"]) == int(shown["right"]) + int(shown["wrong"])
    assert int(shown["right"]) > 0 and int(shown["wrong"]) > 0


@pytest.mark.slow
def test_filters_show_the_queries_of_a_class(opened):
    shown = counts(opened)
    classes = [n for name, n in shown.items() if name.startswith("class") and name != "classall"]
    assert len(classes) == 4 and min(classes) > 0 and sum(classes) == shown["classall"]


@pytest.mark.slow
def test_the_map_shows_the_image_in_focus(opened):
    assert counts(opened)["spot"] == 1


@pytest.mark.slow
def test_fits_a_narrow_window(opened):
    assert 'data-wide="false"' in opened[0]


@pytest.mark.slow
def test_the_console_stays_empty(opened):
    assert "CONSOLE" not in opened[1]
