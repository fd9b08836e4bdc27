"""Tests of a report's page in Chromium; skipped if Chromium is not installed."""

from dataclasses import replace

import pytest

from browser import CHROMIUM, Browser
from nights import BREACH, NIGHT, contents_of, pictured
from screening.report.html.report_page import write_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)")

#: Lists texts whose contrast with their background (WCAG 2.2, 1.4.3) is below 4.5.
_FAINT = """
(() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${texts.currentNode.data.trim()}: ${contrast.toFixed(2)}`);
  }
  return faint;
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    shown = pictured(folder, [row for row in NIGHT if row.probability is not None])
    drift = [BREACH, replace(BREACH, breach=False)]
    facts = {"Job": "job-1", "Model's hash": "ab" * 32}
    write_page(folder, contents_of([*shown, *NIGHT[40:]], facts=facts, drift=drift))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_only_tables_scroll_sideways(browser, page, width):
    browser.open(page, width)
    assert browser.evaluate("document.scrollingElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelector('.scroll').clientWidth") < width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_sufficient_contrast(browser, page, dark):
    browser.open(page, 1280, dark)
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    assert browser.evaluate(_FAINT) == []


def test_every_picture_is_shown(browser, page):
    browser.open(page, 1280)
    widths = browser.evaluate("[...document.images].map((picture) => picture.naturalWidth)")
    assert len(widths) > 20
    assert min(widths) > 20
