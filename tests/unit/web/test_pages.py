"""The packaged files: what a browser may do with each, and that they hold nothing they shouldn't."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from meshnode.web.pages import STATIC, TYPES, Pages, policy_of

VENDOR = STATIC / "vendor"
FIRST_PAINT_MAX = 100_000  # bytes transferred
HTML = ("dashboard.html", "phone.html")
OWN = sorted(
    path for path in STATIC.rglob("*") if path.suffix in (".html", ".css", ".js", ".mjs") and VENDOR not in path.parents
)
_COMMENT = re.compile(r"/\*.*?\*/|<!--.*?-->|(?<![:\"'`])//[^\n]*", re.DOTALL)
_URL = re.compile(r"\b(?:https?:|wss?:)?//[a-z0-9\[][^\s\"'`<>)]*", re.IGNORECASE)
_IMPORT = re.compile(r"(?:\bimport|\bexport)\b[^;'\"()]*?\bfrom\s*[\"']([^\"']+)[\"']|\bimport\s*[\"']([^\"']+)[\"']")
_NAMESPACES = ("http://www.w3.org/",)  # names, never fetched


class Seen(HTMLParser):
    """What a page of HTML holds."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        self.tags.append((tag, dict(attrs)))


def seen(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """The tags of a page."""
    parser = Seen()
    parser.feed(html)
    return parser.tags


def import_map(html: str) -> dict[str, str]:
    """The names that a page's modules may import, and where they lie."""
    found = re.findall(r"<script type=\"importmap\">(.*?)</script>", html, re.DOTALL)
    assert len(found) == 1
    names: dict[str, str] = json.loads(found[0])["imports"]
    return names


def first_paint(page: str) -> set[str]:
    """The files a page needs before it shows itself: its own, its styles, and what its modules import statically."""
    html = (STATIC / page).read_text()
    names = import_map(html)
    wanted = [
        str(attributes.get("src") or attributes.get("href"))
        for tag, attributes in seen(html)
        if (tag == "script" and attributes.get("src"))
        or (tag == "link" and attributes.get("rel") in ("stylesheet", "modulepreload", "icon"))
    ]
    found = {page}
    while wanted:
        path = wanted.pop().removeprefix("/static/")
        if path == "/favicon.ico" or path in found:
            continue
        found.add(path)
        if path.endswith(("js", "mjs")):
            for first, second in _IMPORT.findall(_COMMENT.sub("", (STATIC / path).read_text())):
                name = first or second
                target = names.get(name, name)
                if target.startswith("."):
                    target = "/static/" + ((STATIC / path).parent / target).resolve().relative_to(STATIC).as_posix()
                wanted.append(target)
    return found


@pytest.mark.parametrize("page", HTML)
def test_the_policy_names_the_hash_of_the_import_map_and_no_other(page: str) -> None:
    """Byte for byte what stands between the tags; nothing inline besides, and no word that allows it."""
    html = (STATIC / page).read_text()
    (text,) = re.findall(r"<script type=\"importmap\">(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = policy_of(html)
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert policy.count("sha256-") == 1
    assert "unsafe" not in policy
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert directive in policy


@pytest.mark.parametrize("page", HTML)
def test_nothing_is_inline_but_the_import_map(page: str) -> None:
    """No script, style, style attribute or event attribute: the policy would refuse them."""
    for tag, attributes in seen((STATIC / page).read_text()):
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes.get("type") == "importmap" or attributes.get("src")


@pytest.mark.parametrize("page", HTML)
def test_a_page_paints_from_less_than_100_kb(page: str) -> None:
    """As transferred: packed where a browser takes it so."""
    pages = Pages()
    sizes = {}
    for path in first_paint(page):
        asset = pages.read(path)
        assert asset is not None, path
        sizes[path] = len(asset.packed or asset.body)
    assert len(sizes) > 5
    assert sum(sizes.values()) < FIRST_PAINT_MAX, sizes


@pytest.mark.parametrize("page", HTML)
def test_the_scanner_is_not_part_of_the_first_paint(page: str) -> None:
    """It is large and seldom needed."""
    assert "vendor/jsQR.js" not in first_paint(page)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_no_file_names_another_host(path: Path) -> None:
    """Nothing is ever fetched from elsewhere; comments may say where something is from."""
    found = _URL.findall(_COMMENT.sub("", path.read_text()))
    assert [url for url in found if not url.startswith(_NAMESPACES)] == []


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_no_file_makes_html_of_text(path: Path) -> None:
    """Names come from outside: they are text, whatever they look like; and styles are set by properties."""
    text = _COMMENT.sub("", path.read_text())
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in text
    assert re.search(r"\sstyle=", text) is None


def test_the_vendored_files_are_what_the_manifest_says() -> None:
    """Unmodified, each by its SHA-256; none besides, and each with its licence."""
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    assert set(manifest) == {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".mjs")}
    for name, entry in manifest.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"], name
        licence = (VENDOR / entry["licence_file"]).read_text()
        assert entry["licence"].split("-")[0] in licence or "Apache License" in licence, name


def test_what_is_loaded_after_the_page_is_named_by_its_hash() -> None:
    """By then another program may hold the node's port: the browser takes no other script from it."""
    digest = base64.b64encode(hashlib.sha256((VENDOR / "jsQR.js").read_bytes()).digest()).decode()
    scan = (STATIC / "dashboard" / "scan.js").read_text()
    assert f'JSQR_HASH = "sha256-{digest}"' in scan
    assert "script.integrity = JSQR_HASH" in scan
    late = [path.name for path in OWN if re.search(r"createElement\(\"script\"\)|\bimport\(", path.read_text())]
    assert late == ["scan.js"]


def test_a_file_is_read_once_and_only_when_it_is_asked_for(tmp_path: Path) -> None:
    """A node that nobody looks at holds none of them; what appears later is not there until the next start."""
    (tmp_path / "a.css").write_text("a { color: red }" * 20)
    pages = Pages(tmp_path)
    assert pages.cached("a.css") is None
    first = pages.read("a.css")
    assert first is not None
    assert gzip.decompress(first.packed or b"") == first.body
    (tmp_path / "a.css").write_text("changed")
    assert pages.read("a.css") is first is pages.cached("a.css")
    (tmp_path / "b.css").write_text("later")
    assert pages.read("b.css") is None


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../pages.py", "vendor", "vendor/", "/etc/passwd", "vendor/../text.js"]
)
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    """Only names that stand in the list are files."""
    assert Pages().read(path) is None


def test_every_file_has_a_type_of_its_own_or_is_a_licence() -> None:
    """With nosniff a script of the wrong type would not run."""
    for path in Pages().paths():
        assert Path(path).suffix in TYPES or Path(path).name.startswith("LICENSE-"), path
