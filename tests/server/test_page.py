"""The page: its headers anywhere; its life in a browser where there is one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from conftest import Server

IDS = (
    "message",
    "stop",
    "damage",
    "damage-result",
    "cache-type",
    "cache-bits",
    "cache-bytes",
    "cache-tokens",
    "cache-capacity",
    "cache-hits",
)


def test_page_loads_nothing_and_runs_its_own_script_alone(server: Server) -> None:
    first, second = server.get("/"), server.get("/")
    policy = first.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
    assert first.text.count(f'nonce="{nonce}"') == 2
    assert nonce not in second.text
    assert "@NONCE@" not in first.text
    for name in IDS:
        assert f'id="{name}"' in first.text
    assert not re.search(r"(src|href)=|https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(", first.text)


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is absent: the page is not tried in a browser")
    if not shutil.which("chromium"):
        pytest.skip("chromium is absent: the page is not tried in a browser")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=390,800"):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def brief_server(serve: Callable) -> Iterator[Server]:
    """Whose answers are short and the likeliest: without a bound some go on until the context is full."""
    with serve("--cache", "f16", "-c", "1024", "-n", "48", "--temp", "0") as started:
        yield started


def test_a_question_by_keyboard_on_a_narrow_screen(brief_server: Server, browser) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(brief_server.url)
    wait = WebDriverWait(browser, 60)
    wait.until(lambda page: page.find_element("id", "cache-type").text == "f16")
    browser.switch_to.active_element.send_keys("<b>What</b> is the capital of France?" + Keys.ENTER)
    wait.until(lambda page: page.find_element("id", "damage").is_enabled())
    assert browser.find_element("class name", "question").text.startswith("<b>What</b>")
    assert browser.find_element("class name", "answer").text
    browser.find_element("id", "damage").send_keys(Keys.ENTER)
    wait.until(lambda page: "mean KL" in page.find_element("id", "damage-result").text)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.get_log("browser") == []
