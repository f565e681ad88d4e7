"""The pages over real sockets: where they are served, with which headers, and to whom."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator

import pytest

from meshnode.web.pages import Pages
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SCRIPTS = ("text/javascript; charset=utf-8",)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """One node for tests that only look."""
    made = LocalNode(tmp_path_factory.mktemp("pages") / "node")
    try:
        yield made.start()
    finally:
        made.close()


def ask(node: LocalNode, listener: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request without a token."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if listener == "public":
        return Joiner(node.port).request(method, path, None, sent)
    return ask_control(node.control_address, method, path, None, sent)


@pytest.mark.parametrize(("listener", "path"), [("public", "/"), ("control", "/"), ("public", "/p")])
def test_a_page_is_everybodys_and_allows_nothing_from_elsewhere(node: LocalNode, listener: str, path: str) -> None:
    """It holds no data. The policy carries the hash of the import map as it was served, and no other inline."""
    answer = ask(node, listener, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert ALWAYS.items() <= answer.headers.items()
    (text,) = re.findall(rb"<script type=\"importmap\">(.*?)</script>", answer.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("listener", ["public", "control"])
def test_every_packaged_file_is_served_as_what_it_is(node: LocalNode, listener: str) -> None:
    """With every header, byte for byte; the HTML at the addresses of its pages only."""
    pages = Pages()
    for path in pages.paths():
        answer = ask(node, listener, f"/static/{path}")
        if path.endswith(".html"):
            assert (answer.status, answer.code) == (404, "not_found")
            continue
        asset = pages.read(path)
        assert asset is not None
        assert (answer.status, answer.body) == (200, asset.body), path
        assert ALWAYS.items() <= answer.headers.items()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-cache"
        if path.endswith(("js", "mjs")):
            assert answer.headers["content-type"] in SCRIPTS


def test_the_phone_page_is_not_on_the_control_listener(node: LocalNode) -> None:
    """No phone can reach it there."""
    assert ask(node, "control", "/p").status == 404


@pytest.mark.parametrize("listener", ["public", "control"])
@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/nothing.js", "/static/vendor", "/static/../pages.py", "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py", "/static//etc/passwd", "/static/%00", "/static/vendor/../text.js",
    ],
)  # fmt: skip
def test_nothing_else_lives_below_static(node: LocalNode, listener: str, path: str) -> None:
    """404 as a problem document, whatever the path tries."""
    answer = ask(node, listener, path)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/static/style.css"])
def test_head_has_the_headers_and_no_body(node: LocalNode, path: str) -> None:
    """The same as GET."""
    got, head = ask(node, "control", path), ask(node, "control", path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length", "etag", "content-security-policy"):
        assert head.headers[name] == got.headers[name]


def test_a_browser_that_has_a_file_is_told_so(node: LocalNode) -> None:
    """304 for the version it names, of the same encoding; 200 for any other."""
    plain = ask(node, "public", "/static/style.css")
    packed = ask(node, "public", "/static/style.css", Accept_Encoding="br, gzip")
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
    for condition in (plain.headers["etag"], f"W/{plain.headers['etag']}", f'"x", {plain.headers["etag"]}', "*"):
        same = ask(node, "public", "/static/style.css", If_None_Match=condition)
        assert (same.status, same.body) == (304, b"")
        assert ALWAYS.items() <= same.headers.items()
    assert ask(node, "public", "/static/style.css", If_None_Match=packed.headers["etag"]).status == 200


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br", "identity", "xgzip", ""])
def test_who_does_not_take_gzip_gets_none(node: LocalNode, accepted: str) -> None:
    """Also where it is named and refused."""
    answer = ask(node, "public", "/static/style.css", Accept_Encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert answer.body.startswith(b"/*") or b"{" in answer.body


@pytest.mark.parametrize("headers", [{"Host": "evil.example:6970"}, {"Origin": "http://evil.example"}])
def test_the_control_listener_shows_its_page_under_its_own_name_only(node: LocalNode, headers: dict[str, str]) -> None:
    """A name that was pointed at us, and a page of another site."""
    answer = ask(node, "control", "/", **headers)
    assert (answer.status, answer.code) == (403, "bad_origin")


def test_loading_pages_leaves_room_for_pairing(node: LocalNode) -> None:
    """A page is dozens of files: they are counted by a limit of their own, which ends a flood all the same."""
    small = LocalNode(node.data.parent / "small", **{"http.anonymous_per_minute": 10})
    small.start()
    try:
        seen = [ask(small, "control", "/favicon.ico").status for _ in range(60)]
        assert set(seen) == {200}
        assert ask(small, "control", "/healthz").status == 200
        answers = [ask(small, "control", "/healthz") for _ in range(20)]
        assert {answer.status for answer in answers} == {200, 429}
        assert ask(small, "control", "/favicon.ico").status == 200
        flood = {ask(small, "control", "/favicon.ico").status for _ in range(450)}
        assert flood == {200, 429}
    finally:
        small.close()
