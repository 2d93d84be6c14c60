"""The page in a browser: searches, error messages, phones, dark mode and keyboard."""

import contextlib
import re

import pytest

from dml.index import add_images, open_index
from tests.browser import CHROMIUM, Browser
from tests.bundles import write_images
from tests.serve.shop import served, write_shop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)"),
]

OPENED = "document.querySelector('#query:not([hidden]), #login:not([hidden])')"
FOUND = "document.getElementById('status').textContent.includes(' found in ')"
BROWSED = "document.getElementById('status').textContent.includes('Choose one')"
FAULT = "document.querySelector('#status.error, #where-error:not([hidden])')"
CARDS = """[...document.querySelectorAll("#results li")].map(card => ({
  score: card.querySelector("b")?.textContent, label: card.querySelector(".name").textContent,
  id: card.querySelector(".id:last-child").textContent,
}))"""
PICTURES = """[...document.querySelectorAll("#results li")].every(card => {
  const image = card.querySelector("img");
  return image && image.complete && image.naturalWidth;
})"""
# Of each text on the page: its colour, what is behind it, and what it says.
COLOURS = """(() => {
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
  };
  const shown = [...document.querySelectorAll("body *")].filter(one => one.checkVisibility()
    && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const fields = [...document.querySelectorAll("input[placeholder]")];
  return [...shown.map(one => [getComputedStyle(one).color, behind(one), one.textContent]),
    ...fields.map(one => [getComputedStyle(one, "::placeholder").color, behind(one), one.id])];
})()"""
ODD = '<img src=x> é 50% "off" #1 & ?'  # a label, and part of ids


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    shop = write_shop(folder)
    odd = write_images(folder / "more", classes=1, each=2)
    (odd / "class 0").rename(odd / ODD)
    with contextlib.chdir(folder / "photos"):
        add_images(open_index(shop), ["../more"])  # ids that a browser would shorten in a path
    return shop


@pytest.fixture(scope="module")
def address(shop):
    with served(shop) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def tab(browser, address):
    """Returns the page, opened."""
    with browser.tab() as tab:
        tab.open(address)
        tab.wait_for(OPENED)
        yield tab


@pytest.fixture
def photo(shop):
    return shop.parent / "photos" / "class 1" / "2.png"


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("no image at all\n")
    return path


def search(tab, photo):
    """Picks a file and returns the cards that are found."""
    tab.pick("#file", photo)
    return found(tab, photo.name)


def found(tab, name):
    """Returns the cards once they are what is near a query of that name."""
    caption = f"document.querySelector('#seen figcaption').textContent === {name!r}"
    tab.wait_for(f"{caption} && {FOUND} && !document.getElementById('seen').hidden")
    return tab.evaluate(CARDS)


def choose(tab, label):
    """Chooses a label from the list."""
    tab.evaluate(
        f"document.getElementById('label').value = {label!r},"
        "document.getElementById('label').dispatchEvent(new Event('change'))"
    )


def write_filter(tab, text):
    """Puts a filter in place of the one that is there."""
    tab.click("#where")
    tab.evaluate("document.getElementById('where').select()")
    tab.type(text)
    tab.press("Enter")


def status(tab):
    """Returns what the page says."""
    return tab.evaluate("document.getElementById('status').textContent")


def focused(tab):
    """Returns the id of the element in focus; "result" where it is one of the results."""
    return tab.evaluate(
        "document.activeElement.closest('#results') ? 'result' : document.activeElement.id"
    )


def contrast(one, other):
    """Returns the contrast of two colours (WCAG 2.2, "contrast ratio"), from 1 to 21."""

    def luminance(colour):
        channels = [int(channel) / 255 for channel in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_an_upload_shows_what_is_near_and_nothing_is_complained_of(tab, address, photo):
    assert "14 images" in tab.text()
    cards = search(tab, photo)
    assert len(cards) == 14 and "class 1" in cards[0]["id"]
    assert cards[0]["score"] == "1.000 same" and cards[0]["label"] == "class 1"
    assert cards[-1]["score"].endswith(" different")
    tab.wait_for(PICTURES)
    crop = tab.evaluate("document.querySelector('#seen img').naturalWidth")
    assert crop == 20
    assert tab.complaints() == []
    assert tab.hosts() == {address.removeprefix("http://").rstrip("/")}


def test_a_result_searches_on_and_back_returns(tab, photo):
    first = search(tab, photo)
    tab.click("#results li:nth-child(2) button")
    second = found(tab, first[1]["id"])
    assert first[1]["id"] not in [card["id"] for card in second] and len(second) == 13
    assert tab.evaluate("new URLSearchParams(location.search).get('id')") == first[1]["id"]
    tab.click("#results li:nth-child(3) button")
    found(tab, second[2]["id"])
    tab.evaluate("history.back()")
    assert found(tab, first[1]["id"]) == second
    tab.evaluate("history.back()")
    assert found(tab, photo.name) == first  # the upload is searched again
    tab.evaluate("history.back()")
    tab.wait_for(f"{BROWSED} && !document.querySelector('#seen:not([hidden])')")
    assert len(tab.evaluate(CARDS)) == 14 and tab.complaints() == []


def test_opened_it_shows_images_of_every_label_and_others_on_demand(tab, address):
    tab.wait_for(BROWSED)
    assert status(tab) == "All 14 images. Choose one to search."
    assert tab.evaluate("document.getElementById('others').hidden")
    tab.open(f"{address}?k=4")
    tab.wait_for(BROWSED)
    assert status(tab) == "4 of 14 images. Choose one to search."
    first = tab.evaluate(CARDS)
    assert {card["label"] for card in first} == {"class 0", "class 1", "class 2", ODD}
    assert all("score" not in card for card in first)
    tab.wait_for(PICTURES)
    tab.click("#others")
    tab.wait_for(f"{BROWSED} && {CARDS}[0].id !== {first[0]['id']!r}")
    others = tab.evaluate(CARDS)
    assert len(others) == 4 and others != first
    tab.evaluate("history.back()")
    tab.wait_for(f"{BROWSED} && {CARDS}[0].id === {first[0]['id']!r}")
    assert tab.evaluate(CARDS) == first
    tab.click("#results li:nth-child(2) button")
    near = found(tab, first[1]["id"])
    assert len(near) == 4 and near[0]["score"] and tab.complaints() == []


def test_the_address_holds_the_state_of_the_search(tab, address, photo):
    choose(tab, "class 2")
    tab.wait_for(f"{BROWSED} && document.querySelectorAll('#results li').length === 4")
    write_filter(tab, 'id != "none"')
    tab.evaluate("document.getElementById('k').value = 3")
    tab.evaluate("document.getElementById('k').dispatchEvent(new Event('change'))")
    tab.wait_for(f"{BROWSED} && document.querySelectorAll('#results li').length === 3")
    query = tab.evaluate(CARDS)[1]["id"]
    tab.click("#results li:nth-child(2) button")
    cards = found(tab, query)
    here = tab.evaluate("location.href")
    state = "Object.fromEntries(new URLSearchParams(location.search))"
    assert tab.evaluate(state) == {
        "id": query, "label": "class 2", "where": 'id != "none"', "k": "3"
    }  # fmt: skip
    tab.open(here)
    tab.wait_for(OPENED)
    assert found(tab, query) == cards
    values = "['label', 'where', 'k'].map(id => document.getElementById(id).value)"
    assert tab.evaluate(values) == ["class 2", 'id != "none"', "3"]
    choose(tab, "")
    tab.wait_for(f"{FOUND} && !location.search.includes('label')")
    tab.evaluate("history.back()")
    tab.wait_for("document.getElementById('label').value === 'class 2'")
    assert found(tab, query) == cards
    assert search(tab, photo) and "id=" not in tab.evaluate("location.search")
    assert tab.evaluate(values) == ["class 2", 'id != "none"', "3"] and tab.complaints() == []


def test_an_address_with_nonsense_opens(tab, address):
    tab.open(f"{address}?k=x&draw=y&label=none&same&other=1")
    tab.wait_for("document.getElementById('status').textContent === 'Nothing matches.'")
    assert tab.evaluate("document.getElementById('label').value") == "none"
    choose(tab, "")
    tab.wait_for(BROWSED)
    assert tab.complaints() == []


def test_an_address_with_an_item_can_be_opened(tab, address):
    tab.open(f"{address}?id=none")
    tab.wait_for(FAULT)
    assert status(tab) == "no such item"


def test_odd_names_are_searched_shown_and_filtered(tab, photo):
    search(tab, photo)
    choose(tab, ODD)
    tab.wait_for(f"{FOUND} && document.querySelectorAll('#results li').length === 2")
    cards = tab.evaluate(CARDS)
    assert [card["label"] for card in cards] == [ODD, ODD]
    assert not tab.evaluate("document.querySelector('img[src=x]') !== null")
    tab.wait_for(PICTURES)
    tab.click("#results button")
    assert [card["id"] for card in found(tab, cards[0]["id"])] == [cards[1]["id"]]


def test_labels_filters_and_sizes_narrow_the_search(tab, photo):
    search(tab, photo)
    choose(tab, "class 2")
    tab.wait_for(f"{FOUND} && document.querySelectorAll('#results li').length === 4")
    write_filter(tab, 'label != "class 2"')
    tab.wait_for("document.getElementById('status').textContent === 'Nothing matches.'")
    choose(tab, "")
    tab.wait_for(f"{FOUND} && document.querySelectorAll('#results li').length === 10")
    tab.click("#same")
    tab.wait_for(f"{FOUND} && document.querySelectorAll('#results li').length < 10")
    assert all(card["score"].endswith(" same") for card in tab.evaluate(CARDS))
    tab.evaluate("document.getElementById('k').value = 1")
    tab.evaluate("document.getElementById('k').dispatchEvent(new Event('change'))")
    tab.wait_for(f"{FOUND} && document.querySelectorAll('#results li').length === 1")


def test_a_wrong_filter_is_explained(tab, photo):
    search(tab, photo)
    write_filter(tab, "colour = red")
    tab.wait_for(FAULT)
    told = "document.getElementById('where-error').textContent"
    assert "can't read the filter" in tab.evaluate(told) and "colour = red" in tab.evaluate(told)
    assert tab.evaluate(CARDS) == [] and status(tab) == ""
    assert tab.evaluate("document.getElementById('where').getAttribute('aria-invalid')") == "true"
    below = """(({left, bottom}, fault) => [fault.left - left, fault.top - bottom])(
      ...["where", "where-error"].map(id => document.getElementById(id).getBoundingClientRect()))"""
    left, top = tab.evaluate(below)
    assert left == 0 and 0 <= top < 10
    write_filter(tab, 'colour == "red"')
    tab.wait_for(f"{told}.includes('no field')")
    write_filter(tab, 'label == "class 1"')
    tab.wait_for(FOUND)
    assert len(tab.evaluate(CARDS)) == 4 and tab.evaluate(told) == ""
    assert tab.evaluate("document.getElementById('where').getAttribute('aria-invalid')") == "false"
    tab.evaluate("history.back()")
    tab.wait_for(f"{told}.includes('no field')")


def test_a_wrong_filter_is_explained_before_there_is_a_query(tab):
    tab.wait_for(BROWSED)
    write_filter(tab, "path > 'a'")
    tab.wait_for(FAULT)
    assert "no field 'path'" in tab.text() and tab.evaluate(CARDS) == []
    write_filter(tab, 'label == "class 1"')
    tab.wait_for(f"{BROWSED} && document.querySelectorAll('#results li').length === 4")


def test_a_number_out_of_range_sends_no_request(tab, photo):
    search(tab, photo)
    tab.wait_for(PICTURES)
    asked = len(tab.happened("Network.requestWillBeSent"))
    tab.evaluate("document.getElementById('k').value = 999")
    tab.evaluate("document.getElementById('k').dispatchEvent(new Event('change'))")
    assert focused(tab) == "k" and tab.evaluate("document.querySelector('#k:invalid') !== null")
    assert len(tab.happened("Network.requestWillBeSent")) == asked


def test_a_bad_file_is_reported_and_the_page_keeps_working(tab, photo, notes):
    first = search(tab, photo)
    tab.pick("#file", notes)
    tab.wait_for(FAULT)
    assert status(tab).startswith("Can't search by notes.jpg: not an image in a supported format")
    assert tab.evaluate(CARDS) == [] and tab.evaluate("document.getElementById('seen').hidden")
    assert search(tab, photo) == first  # also the same file once more


def test_a_large_file_is_refused_before_it_is_sent(tab, tmp_path):
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    tab.pick("#file", large)
    tab.wait_for(FAULT)
    assert status(tab) == "Can't search by large.png: it is larger than 16 MiB."
    assert tab.complaints() == []


def test_files_can_be_dropped(tab, photo):
    tab.drop("#drop", photo)
    assert found(tab, photo.name)[0]["label"] == "class 1"
    tab.evaluate("dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    assert status(tab) == "Only files can be dropped here."


def test_images_can_be_pasted(tab, photo):
    cards = search(tab, photo)
    tab.evaluate(
        f"""(async () => {{
          const id = encodeURIComponent({cards[-1]["id"]!r});
          const image = await (await fetch("/image?id=" + id)).blob();
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([image], "image.png", {{ type: image.type }}));
          dispatchEvent(new ClipboardEvent("paste", {{ clipboardData }}));
        }})()"""
    )
    assert found(tab, "image.png")[0]["label"] == cards[-1]["label"]


def test_an_empty_index_says_so(browser, tmp_path):
    shop = write_shop(tmp_path)
    open_index(shop).remove(where='label != ""')
    with served(shop) as (address, _), browser.tab() as tab:
        tab.open(address)
        tab.wait_for(f"{OPENED} && document.getElementById('status').textContent")
        assert "0 images" in tab.text() and status(tab) == "This index is empty."
        tab.pick("#file", shop.parent / "photos" / "class 1" / "2.png")
        tab.wait_for("!document.getElementById('seen').hidden")
        assert status(tab) == "This index is empty." and tab.complaints() == []


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_all_of_it(tab, shop, tmp_path, width):
    tab.resize(width, 844, phone=True)
    long = tmp_path / f"{'a very long name ' * 5}.png"
    long.write_bytes((shop.parent / "photos" / "class 1" / "2.png").read_bytes())
    narrow = "document.documentElement.scrollWidth <= innerWidth"
    assert tab.evaluate(narrow)
    search(tab, long)
    assert tab.evaluate(narrow) and tab.evaluate("innerWidth") == width
    write_filter(tab, "x" * 100)
    tab.wait_for(FAULT)
    assert tab.evaluate(narrow)
    heights = tab.evaluate(
        "[...document.querySelectorAll('#drop, #label, #where, #k, #same-choice')]"
        ".map(one => one.getBoundingClientRect().height)"
    )
    assert len(heights) == 5 and min(heights) >= 44  # pixels that a finger wants


def test_results_stay_where_they_are_when_the_query_is_shown(tab, photo):
    top = "document.getElementById('results').getBoundingClientRect().top"
    for width, phone in ((1280, False), (390, True)):
        tab.resize(width, 844, phone)
        tab.evaluate("history.pushState(null, '', '/'), search()")
        tab.wait_for(BROWSED)
        before = tab.evaluate(top)
        search(tab, photo)
        assert tab.evaluate(top) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_by_day_and_night(tab, photo, scheme):
    tab.prefer(scheme)
    search(tab, photo)
    colours = tab.evaluate(COLOURS)
    write_filter(tab, "x")
    tab.wait_for(FAULT)
    colours += tab.evaluate(COLOURS)
    assert any("different" in text for _, _, text in colours)
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (contrast(background, "rgb(255, 255, 255)") > 10) is (scheme == "dark")
    for colour, behind, text in colours:
        assert contrast(colour, behind) >= 4.5, text  # WCAG 2.2, AA


def test_the_keyboard_reaches_everything(tab, photo):
    first = search(tab, photo)
    reached = []
    for _ in range(6):
        tab.press("Tab")
        reached.append(focused(tab))
        assert tab.evaluate(
            "(document.activeElement.closest('.drop') || document.activeElement)"
            ".computedStyleMap().get('outline-style').value"
        ) == "solid"  # fmt: skip
    assert reached == ["file", "label", "where", "k", "same", "result"]
    tab.press("Enter")
    second = found(tab, first[0]["id"])
    tab.press("Tab")
    assert focused(tab) == "result"
    tab.press("Enter")
    found(tab, second[0]["id"])
    tab.press("Tab", shift=True)
    assert focused(tab) == "same"
    tab.press("Space")
    tab.wait_for(f"{FOUND} && document.getElementById('same').checked")


def test_the_keyboard_picks_a_file(tab):
    tab.call("Page.setInterceptFileChooserDialog", enabled=True)
    tab.press("Tab")
    tab.press("Enter")
    assert len(tab.happened("Page.fileChooserOpened")) == 1


def test_a_token_opens_the_page(browser, shop, photo):
    with served(shop, token="long secret") as (address, _), browser.tab() as tab:
        tab.open(address)
        tab.wait_for(OPENED)
        assert "Token" in tab.text() and "Pick an image" not in tab.text()
        tab.type("wrong")  # the focus is there
        tab.press("Enter")
        tab.wait_for(FAULT)
        assert status(tab) == "invalid token"
        tab.type("long secret")  # in place of it
        tab.press("Enter")
        tab.wait_for("!document.getElementById('query').hidden")
        tab.wait_for(BROWSED)
        assert "Token" not in tab.text()
        assert search(tab, photo)[0]["label"] == "class 1"
        tab.wait_for(PICTURES)
        tab.call("Network.clearBrowserCookies")  # as if the service had another token now
        tab.click("#results button")
        tab.wait_for("!document.getElementById('login').hidden")
        tab.type("long secret")
        tab.press("Enter")
        tab.wait_for(FOUND)
        labels = tab.evaluate("document.getElementById('label').textContent")
        assert labels.count("class 1") == 1 and "long secret" not in tab.evaluate("location.href")
