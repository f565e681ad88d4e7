"""The packaged files of the pages: which there are, their bytes, and what a browser may do with each.

Read when first asked for: a node that nobody looks at holds none of them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
PLAIN: Final = "text/plain; charset=utf-8"  # licences
_PACKED: Final = ("text/", "application/json", "image/svg")  # what gets smaller
_IMPORT_MAP: Final = re.compile(r"<script\s+type=\"importmap\"\s*>(.*?)</script>", re.DOTALL)
# everything from here, nothing inline, nobody may frame it; `{hashes}` = of the page's import map
_POLICY: Final = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; manifest-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


class Asset(NamedTuple):
    """One file as it is served."""

    body: bytes
    packed: bytes | None  # gzip, where that is smaller
    content_type: str
    etag: str  # without quotes
    policy: str  # its Content-Security-Policy


def policy_of(html: str) -> str:
    """The policy of a page: of inline scripts only its own import map may count."""
    maps = [hashlib.sha256(text.encode()).digest() for text in _IMPORT_MAP.findall(html)]
    return _POLICY.format(hashes="".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in maps))


class Pages:
    """The files below one folder; no other path names anything."""

    def __init__(self, root: Path = STATIC) -> None:
        self._root = root
        self._paths: frozenset[str] | None = None
        self._assets: dict[str, Asset] = {}

    def paths(self) -> frozenset[str]:
        """Every file there is, by its path below the folder."""
        if self._paths is None:
            files = (path for path in self._root.rglob("*") if path.is_file())
            self._paths = frozenset(path.relative_to(self._root).as_posix() for path in files)
        return self._paths

    def cached(self, path: str) -> Asset | None:
        """A file that was read before."""
        return self._assets.get(path)

    def read(self, path: str) -> Asset | None:
        """A file, None if there is none of that path. Touches the disk the first time."""
        if path not in self._assets and path in self.paths():
            self._assets[path] = _asset(self._root / path)
        return self._assets.get(path)


def _asset(file: Path) -> Asset:
    body = file.read_bytes()
    content_type = TYPES.get(file.suffix, PLAIN)
    packed = gzip.compress(body, 9, mtime=0) if content_type.startswith(_PACKED) else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    policy = policy_of(body.decode() if file.suffix == ".html" else "")
    return Asset(body, packed, content_type, hashlib.sha256(body).hexdigest()[:32], policy)
