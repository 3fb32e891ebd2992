"""The page for people, in a real Chromium without a window: `make browser` sees to it that there is one."""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.interop.servers import ROOT, Server, node, until
from tests.interop.transcripts.wire import identify, pub

SCREENSHOTS = ROOT / "build" / "screenshots"
ARGUMENTS = [
    "--no-sandbox",  # the tests may run as root, which Chromium's sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}
HOSTILE = {
    "client_id": "<img src=x onerror=document.title='pwned'>",
    "hostname": "</script><script>document.title='pwned'</script>",
    "user_agent": "\" onmouseover=\"document.title='pwned'",
}
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as Debian packages it or as it is found."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "there is no Chromium; `make test-interop` installs it, or: make browser"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE_MS)
        yield made
        made.close()


class Watched:
    """A page of which nothing goes unnoticed.

    Attributes:
        page: The page.
        complaints: Errors of its script, and what it wrote to the console.
        requests: The addresses of everything that it asked for.
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.origin = f"http://{server.host}:{server.http_port}"
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: str = "/") -> Page:
        """Go there, and wait for figures."""
        self.page.goto(self.origin + path)
        expect(self.page.locator("#content")).to_be_visible(timeout=PATIENCE_MS)
        return self.page

    def is_narrow_enough(self) -> bool:
        """Whether nothing has to be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@contextmanager
def watched(browser: Browser, server: Server, **context: Any) -> Iterator[Watched]:
    """A page that ends the test without a complaint, and has asked its own server only."""
    made = browser.new_context(**({"viewport": DESKTOP} | context))
    try:
        each = Watched(made.new_page(), server)
        yield each
        assert each.complaints == []
        assert [url for url in each.requests if not url.startswith((each.origin + "/", "data:"))] == []
    finally:
        made.close()


class Publisher:
    """A client that publishes, and one that consumes nothing of it."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=10)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(b"  V2")

    def ask(self, command: bytes) -> tuple[int, bytes]:
        """A command and its answer."""
        self._socket.sendall(command)
        size, kind = struct.unpack(">II", self._stream.read(8))
        return kind, self._stream.read(size - 4)

    def publish(self, topic: str, count: int) -> None:
        """So many messages."""
        for _ in range(count):
            assert self.ask(pub(topic, b"four")) == (0, b"OK")

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


@contextmanager
def stocked(**options: Any) -> Iterator[tuple[Server, Publisher]]:
    """A node with a topic of two channels, in one of which three messages wait, and one with a strange client."""
    with node(**options) as server, closing(Publisher(server)) as publisher, closing(Publisher(server)) as client:
        client.ask(identify(**HOSTILE))
        assert client.ask(b"SUB orders billing\n") == (0, b"OK")
        with closing(Publisher(server)) as other:
            assert other.ask(b"SUB orders archive\n") == (0, b"OK")
        publisher.publish("orders", 3)
        publisher.publish("lonely", 1)
        yield server, publisher


def figure(page: Page, label: str) -> Locator:
    """One of the large figures at the top."""
    return page.locator(".total", has_text=label).locator(".number")


def test_numbers_move(browser: Browser) -> None:
    """What is published shows up by itself, in the figures, the rows and the charts."""
    with stocked() as (server, publisher), watched(browser, server) as seen:
        page = seen.open()
        expect(figure(page, "Waiting")).to_have_text("7")
        row = page.get_by_role("row").filter(has_text="orders")
        before = page.locator(".total path.line.is-depth").get_attribute("d")

        publisher.publish("orders", 40)

        expect(row.locator("b").nth(1)).to_have_text("86")
        expect(figure(page, "Waiting")).to_have_text("87")
        until(lambda: page.locator(".total path.line.is-depth").get_attribute("d") != before, "a chart that moves")
        expect(row.locator("b").first).not_to_have_text("0")


def test_topic_has_its_own_page(browser: Browser) -> None:
    """Reached by a link and by the keyboard; its channels and clients are there, and the way back."""
    with stocked() as (server, _), watched(browser, server) as seen:
        page = seen.open()
        page.get_by_role("link", name="orders").focus()
        page.keyboard.press("Enter")

        expect(page.get_by_role("heading", name="orders")).to_be_focused(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", level=3)).to_have_text(["archive", "billing"])
        assert page.title().startswith("orders · ")
        page.go_back()
        expect(page.get_by_role("link", name="lonely")).to_be_visible()


def test_hostile_client_is_text(browser: Browser) -> None:
    """Whatever a client calls itself is shown as it is, and runs nothing."""
    with stocked() as (server, _), watched(browser, server) as seen:
        page = seen.open("/#/topic/orders")
        page.get_by_text("1 client", exact=True).click()

        cell = page.locator(".clients td").first
        expect(cell).to_contain_text(HOSTILE["client_id"])
        expect(cell).to_contain_text(HOSTILE["hostname"])
        expect(cell).to_contain_text(HOSTILE["user_agent"])
        cell.hover()
        assert page.locator("#view img, #view script").count() == 0
        assert "pwned" not in page.title()
        page.screenshot(path=_shot("hostile"), full_page=True)


def test_read_only_page_has_no_buttons_that_change(browser: Browser) -> None:
    """It is what is served unless somebody wants otherwise."""
    with stocked() as (server, _), watched(browser, server) as seen:
        page = seen.open("/#/topic/orders")
        expect(page.get_by_role("heading", level=3)).to_have_count(2)

        assert page.get_by_role("button", name="Delete").count() == 0
        assert page.get_by_role("button", name="Pause").count() == 0
        assert "read-only" in page.locator("footer").inner_text()


def test_channel_is_paused_and_emptied_and_deleted(browser: Browser) -> None:
    """Each with a question first, that tells what is lost; each takes effect, and shows."""
    with stocked(http_page="read-write") as (server, _), watched(browser, server) as seen:
        page = seen.open("/#/topic/orders")
        part = page.get_by_role("region", name="Channel archive")

        part.get_by_role("button", name="Pause").click()
        page.get_by_role("dialog").get_by_role("button", name="Pause channel").click()
        expect(part.locator(".badge")).to_have_text("paused")
        assert server.channel("orders", "archive")["paused"]

        part.get_by_role("button", name="Unpause").click()
        page.get_by_role("dialog").get_by_role("button", name="Unpause channel").click()
        expect(part.locator(".badge")).to_have_count(0)
        assert not server.channel("orders", "archive")["paused"]

        part.get_by_role("button", name="Empty").click()
        expect(page.get_by_role("dialog")).to_contain_text("3 messages that wait")
        page.get_by_role("dialog").get_by_role("button", name="Empty channel").click()
        expect(part.locator(".legend b").last).to_have_text("0")
        assert server.channel("orders", "archive")["depth"] == 0

        part.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete channel").click()
        expect(part).to_have_count(0)
        assert server.channel("orders", "archive") == {}


def test_topic_is_paused_and_emptied_and_deleted(browser: Browser) -> None:
    """The same for a topic; afterwards the list is shown again."""
    with stocked(http_page="read-write") as (server, publisher), watched(browser, server) as seen:
        page = seen.open("/#/topic/lonely")
        title = page.locator(".title").first

        def agree(verb: str) -> None:
            title.get_by_role("button", name=verb).click()
            page.get_by_role("dialog").get_by_role("button", name=f"{verb} topic").click()

        agree("Pause")
        expect(title.locator(".badge")).to_have_text("paused")
        publisher.publish("lonely", 1)
        agree("Unpause")
        expect(title.locator(".badge")).to_have_count(0)
        agree("Empty")
        expect(page.locator(".strip dd").first).to_have_text("0")
        agree("Delete")
        expect(page.get_by_role("link", name="orders")).to_be_visible()
        expect(page.get_by_role("link", name="lonely")).to_have_count(0)
        assert [each["topic_name"] for each in server.stats()["topics"]] == ["orders"]


def test_question_can_be_left_without_doing_it(browser: Browser) -> None:
    """By its button, where the focus is at first, and by Escape; nothing is done then."""
    with stocked(http_page="read-write") as (server, _), watched(browser, server) as seen:
        page = seen.open("/#/topic/orders")
        delete = page.get_by_role("button", name="Delete topic orders")
        dialog = page.get_by_role("dialog")

        delete.click()
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        delete.click()
        page.keyboard.press("Escape")

        expect(dialog).to_be_hidden()
        expect(delete).to_be_focused()
        assert server.channel("orders", "billing")["depth"] == 3


def test_token_is_asked_for_and_kept_in_the_tab(browser: Browser) -> None:
    """A wrong one is refused; the right one shows the figures, changes something, and survives a reload."""
    with (
        stocked(http_page="read-write", http_token="open-sesame") as (server, _),
        watched(browser, server) as seen,
    ):
        page = seen.page
        page.goto(seen.origin)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-why")).to_have_text("That was not the right one.")
        page.get_by_label("Token").fill("open-sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="lonely")).to_be_visible()

        page.reload()
        page.get_by_role("link", name="lonely").click()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("dialog").get_by_role("button", name="Pause topic").click()

        expect(page.locator(".title .badge")).to_have_text("paused")
        assert "open-sesame" not in "".join(seen.requests)
        assert page.evaluate("localStorage.length") == 0
        refused = [each for each in seen.complaints if "401" in each]
        seen.complaints = [each for each in seen.complaints if each not in refused]
        assert len(refused) == 2  # the browser's own words for the two without the right token


def test_page_survives_a_restart(browser: Browser) -> None:
    """It says that nobody answers, goes on by itself when somebody does, and says what that means."""
    with ExitStack() as life:
        first = life.enter_context(node())
        with watched(browser, first) as seen:
            page = seen.open()
            expect(page.locator("#state")).to_have_text("Live")
            with closing(Publisher(first)) as publisher:
                publisher.publish("before", 1)
            expect(page.get_by_role("link", name="before")).to_be_visible()

            life.close()
            expect(page.locator("#state")).to_contain_text("No answer")
            with node(http_address=f"127.0.0.1:{first.http_port}"):
                expect(page.locator("#state")).to_have_text("Live")
                expect(page.locator("#notices")).to_contain_text("was restarted")
                expect(page.locator(".none")).to_contain_text("No topics yet")
            unanswered = [each for each in seen.complaints if "net::ERR_" in each]  # the browser's own words
            seen.complaints = [each for each in seen.complaints if each not in unanswered]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 320, "height": 640}], ids=["desktop", "phone", "small"])
def test_layout_fits(browser: Browser, scheme: str, size: dict[str, int]) -> None:
    """In light and dark, at a desk and on a phone, with long names: nothing has to be scrolled sideways."""
    with (
        stocked(http_page="read-write") as (server, publisher),
        watched(browser, server, viewport=size, color_scheme=scheme, has_touch=size["width"] < 400) as seen,
    ):
        long = "a-topic-with-a-name-as-long-as-nsq-allows-it-to-be-64-characters"
        publisher.publish(long, 1)
        page = seen.open()
        expect(page.get_by_role("link", name=long)).to_be_visible()
        assert seen.is_narrow_enough()
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 24)"
        assert dark == (scheme == "dark")
        page.screenshot(path=_shot(f"{scheme}-{size['width']}-topics"))

        page.get_by_role("link", name="orders").click()
        page.get_by_text("1 client", exact=True).click()
        assert seen.is_narrow_enough()
        page.screenshot(path=_shot(f"{scheme}-{size['width']}-topic"), full_page=True)

        page.get_by_role("button", name="Delete topic orders").click()
        assert seen.is_narrow_enough()
        page.screenshot(path=_shot(f"{scheme}-{size['width']}-dialog"))


def test_thousand_topics_are_usable(browser: Browser) -> None:
    """A hundred are shown, more on demand; a filter finds one; what is deepest comes first when asked for."""
    with node() as server, watched(browser, server) as seen, closing(Publisher(server)) as publisher:
        for number in range(1000):
            publisher.publish(f"topic-{number:04}", 1 + (number == 777))
        page = seen.open()
        rows = page.locator(".topics tbody tr")
        expect(rows).to_have_count(100)
        expect(page.locator(".bar h2 span")).to_have_text("1,000")

        page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(200)
        page.get_by_label("Filter topics").fill("0042")
        expect(rows).to_have_count(1)
        page.get_by_label("Filter topics").fill("nothing like it")
        expect(page.locator(".none")).to_contain_text("No topic has")
        page.get_by_label("Filter topics").fill("")
        page.get_by_label("Order").select_option("depth")
        expect(rows.first).to_contain_text("topic-0777")


def _shot(name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS / f"{name}.png"
