"""The viewer in a real headless Chromium: what a person sees and does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from scipy.spatial import cKDTree
from viewed import HOSTILE, SPOT, ball

from btp.drawing.pictures import anomaly_rgb
from btp.drawing.viewer import write_viewer
from btp.drawing.viewer.encoding import encode

NAMES = ["worst", HOSTILE, "fine"]
CORNER = 95  # pixels at the lower left, where the coloured axes stand


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "with space.html"
    scans = [ball(NAMES[2], 0.3), ball(NAMES[0], 0.95), ball(NAMES[1], 0.7, spot=-SPOT)]
    write_viewer(path, scans, "Balls", max_points=3000)
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser(900, 640) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Browser:
    """At the worst scan, as if just opened."""
    chromium.prefer("light")
    chromium.open(page)
    return chromium


@pytest.fixture
def resting(chromium: Browser, page: Path) -> Browser:
    """At any scan, for what does not depend on what was done before."""
    if chromium.run("!window.viewer"):
        chromium.open(page)
    return chromium


def coloured(browser: Browser) -> np.ndarray:
    """Where the picture has strong colours: bool [H, W]; grey points and background have none."""
    image = browser.picture("#picture").astype(int)
    strong = image.max(2) - image.min(2) > 70
    strong[-CORNER:, :CORNER] = False
    return strong


def move_slider(browser: Browser, pane: int, place: int) -> None:
    """Drag a pane's threshold to 0..1000 of its range."""
    slider = f"document.querySelectorAll('.scale input')[{pane}]"
    browser.run(f"{slider}.value = {place}, {slider}.dispatchEvent(new Event('input'))")


def click(browser: Browser, text: str, pane: int = 0) -> None:
    browser.run(
        f"[...document.querySelectorAll('.head')[{pane}].querySelectorAll('button')]"
        f".find((button) => button.textContent === '{text}').click()"
    )


def defect_place(browser: Browser) -> tuple[float, float]:
    """Where the middle of the shown ball's defect should be on the picture: x, y."""
    spot = "50 * (viewer.view.cloud.about.name.startsWith('<') ? -1 : 1)"
    x, y = browser.run(f"viewer.view.project([{spot}, 0, 0])")
    return x, y


def test_it_opens_without_complaint_and_without_network(browser: Browser, page: Path) -> None:
    assert browser.complaints == []
    other = [url for url in browser.requests if not url.startswith(("data:", "about:"))]
    assert other == [page.as_uri()]


def test_the_defect_is_red_where_it_is(browser: Browser) -> None:
    x, y = defect_place(browser)
    where = np.argwhere(coloured(browser))
    assert len(where) > 500
    np.testing.assert_allclose(where.mean(0), [y, x], atol=8)
    width = browser.run("document.querySelector('#picture').clientWidth")
    assert np.ptp(where[:, 1]) < 0.3 * width


def test_the_slider_changes_what_is_coloured(browser: Browser) -> None:
    counts = []
    for place in (0, 300, 600, 900, 1000):
        move_slider(browser, 0, place)
        counts.append(int(coloured(browser).sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[1] > 1.5 * counts[2] > 1.5 * counts[3] > 0
    assert counts[-1] == 0
    assert "Coloured above" in browser.run("document.querySelector('.words').textContent")
    browser.run("document.querySelector('.words .link').click()")
    assert browser.run("viewer.panes[0].threshold(viewer.view.cloud.about)") == 0.5


def test_every_way_to_colour(browser: Browser) -> None:
    def has(red: int, green: int, blue: int) -> int:
        """Pixels of a hue, in any shade."""
        image = browser.picture("#picture").astype(float)
        image[-CORNER:, :CORNER] = 128
        bright = image.max(2, keepdims=True)
        wanted = np.array([red, green, blue]) / max(red, green, blue)
        return int((np.abs(image / np.maximum(bright, 1) - wanted).max(2) < 0.06).sum())

    vermilion, green, blue, orange = (213, 94, 0), (0, 158, 115), (0, 114, 178), (230, 159, 0)
    click(browser, "Truth")
    assert has(181, 18, 27) > 300
    click(browser, "Right / wrong")
    assert has(*green) > has(*blue) > 0  # at 0.5 all but the defect's rim is found
    assert has(*orange) == 0
    move_slider(browser, 0, 900)
    assert has(*blue) > has(*green) > 0
    move_slider(browser, 0, 100)
    assert (has(*blue), has(*orange) > 300) == (0, True)
    click(browser, "Regions")
    assert has(*vermilion) > 300


def test_regions_come_and_go_with_the_threshold(browser: Browser) -> None:
    click(browser, "Regions")
    shown = "document.querySelectorAll('.region').length"
    assert browser.run(shown) == 1
    text = browser.run("document.querySelector('.region').textContent")
    assert " units, up to " in text
    assert f"up to {ball('worst', 0.95).scores['mini'].max():.3f}" in text
    move_slider(browser, 0, 1000)
    assert browser.run(shown) == 0
    assert "0 of 1 regions" in browser.run("document.querySelector('.regions').textContent")


def test_scans_are_ordered_searched_and_reached_by_keys(browser: Browser) -> None:
    names = "[...document.querySelectorAll('#list .name')].map((name) => name.textContent)"
    title = "document.querySelector('#name').textContent"
    assert browser.run(names) == NAMES  # by score
    assert browser.run(title) == NAMES[0]
    first = browser.picture("#picture")
    browser.press("ArrowDown")
    browser.wait_for(f"{title} !== 'worst'")
    assert browser.run(title) == HOSTILE
    assert not np.array_equal(browser.picture("#picture"), first)
    browser.press("ArrowDown")
    browser.wait_for(f"{title} === 'fine'")
    assert coloured(browser).sum() == 0  # nothing above 0.5
    search = "document.querySelector('#search')"
    browser.run(f"{search}.value = 'wor ball', {search}.dispatchEvent(new Event('input'))")
    assert browser.run(names) == ["worst"]
    assert "showing 3,000 of 4,000 points" in browser.run(
        "document.querySelector('#facts').textContent"
    )
    assert browser.complaints == []


def test_two_detectors_side_by_side_share_the_camera(browser: Browser) -> None:
    browser.press("c")
    strong = coloured(browser)
    half = strong.shape[1] // 2
    left, right = np.argwhere(strong[:, :half]), np.argwhere(strong[:, half:])
    x, y = defect_place(browser)
    np.testing.assert_allclose(left.mean(0), [y, x], atol=8)
    # The second detector's highest scores are on the far side: turned to it, they are in the same
    # place of its own half.
    assert len(right) < 50
    browser.run("viewer.view.camera.position.negate(), viewer.view.request()")
    strong = coloured(browser)
    left, right = np.argwhere(strong[:, :half]), np.argwhere(strong[:, half:])
    assert len(left) < 50
    x, y = browser.run("viewer.view.project([-50, 0, 0])")
    np.testing.assert_allclose(right.mean(0), [y, x], atol=8)


def test_the_other_detector_starts_with_as_many_points(browser: Browser) -> None:
    browser.press("c")
    threshold = browser.run("viewer.panes[1].threshold(viewer.view.cloud.about)")
    scans = [ball("", 0.3), ball("", 0.95), ball("", 0.7, spot=-SPOT)]
    counts = {
        name: sum(int((scan.scores[name] > limit).sum()) for scan in scans)
        for name, limit in (("mini", 0.5), ("PatchCore", threshold))
    }
    assert counts["PatchCore"] == pytest.approx(counts["mini"], rel=0.1)


def test_colours_are_those_of_the_pictures(resting: Browser) -> None:
    values = np.linspace(0, 1, 23)
    blend = "import('viewer/colours').then(({ blend }) => "
    ours = resting.run(f"{blend} {values.tolist()}.map((v) => blend(viewer.page.colours, v)))")
    np.testing.assert_allclose(np.array(ours) * 255, anomaly_rgb(values), atol=2)


def test_the_browser_decodes_what_python_encoded(browser: Browser) -> None:
    scan = ball("worst", 0.95)
    about = encode(scan, 3000).about
    cloud: dict[str, Any] = browser.run(
        "(({ positions, centre, scores, labels, normals }) => ({ positions: [...positions], centre,"
        " scores: [...scores.mini], labels: [...labels], normals: [...normals] }))"
        "(viewer.view.cloud)"
    )
    points = np.reshape(cloud["positions"], (-1, 3)) + cloud["centre"]
    distance, row = cKDTree(scan.points).query(points)
    assert distance.max() < 2 * about["step"]
    assert len(set(row)) == 3000
    step = about["detectors"]["mini"]["step"]
    np.testing.assert_allclose(cloud["scores"], scan.scores["mini"][row], atol=step)
    assert scan.labels is not None
    np.testing.assert_array_equal(np.array(cloud["labels"], bool), scan.labels[row])
    outward = (points - [1000, 0, 0]) / 50
    cosine = np.abs((np.reshape(cloud["normals"], (-1, 3)) * outward).sum(1))
    assert np.median(cosine) > 0.99


def test_shares_are_of_all_points(browser: Browser) -> None:
    scan = ball("worst", 0.95)
    for threshold in (-1.0, 0.05, 0.5, 0.9, 2.0):
        share = browser.run(
            "import('viewer/data').then(({ shareAbove }) => shareAbove("
            f"viewer.view.cloud.about.detectors.mini, 4000, {threshold}))"
        )
        assert share == pytest.approx((scan.scores["mini"] > threshold).mean(), abs=2e-3)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 40, ["0", "10", "20", "30", "40"]),
        (-0.003, 0.002, ["-0.003", "-0.002", "-0.001", "0.000", "0.001", "0.002"]),
    ],
)
def test_the_bar_has_round_numbers(
    resting: Browser, low: float, high: float, texts: list[str]
) -> None:
    ticks = resting.run(
        f"import('viewer/numbers').then(({{ ticks }}) => ticks({low}, {high}).map((t) => t.text))"
    )
    assert ticks == texts


def test_light_and_dark_as_the_system_has_it(browser: Browser) -> None:
    light = browser.picture().mean()
    browser.prefer("dark")
    dark = browser.picture().mean()
    assert light > 200 > 90 > dark
    assert coloured(browser).sum() > 500
    browser.press("t")  # from the system's to light
    assert browser.picture().mean() > 200


def test_an_address_opens_one_scan(browser: Browser, page: Path) -> None:
    browser.open(page, "#scan=fine")
    assert browser.run("document.querySelector('#name').textContent") == "fine"


def test_a_point_tells_its_score(browser: Browser) -> None:
    box = browser.run("document.querySelector('#canvas').getBoundingClientRect().toJSON()")
    x, y = defect_place(browser)
    browser.mouse("Moved", box["x"] + x, box["y"] + y)
    text = browser.run("document.querySelector('#readout').textContent")
    assert text.startswith("mini: 0.9")
    assert "ground truth: defect" in text
    assert "region 1" in text
    assert text.splitlines()[-1].startswith("(1")  # its place; the ball lies around x = 1000
    browser.mouse("Moved", box["x"] + 3, box["y"] + 3)
    assert browser.run("document.querySelector('#readout').hidden")


def test_points_grow_with_their_slider(browser: Browser) -> None:
    def covered() -> int:
        image = browser.picture("#picture").astype(int)
        image[-CORNER:, :CORNER] = 255
        return int((image.max(2) < 225).sum())

    before = covered()
    browser.run("document.querySelector('#spots').value = -2")
    browser.run("document.querySelector('#spots').dispatchEvent(new Event('input'))")
    assert covered() < 0.9 * before
