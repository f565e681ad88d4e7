"""A text as a QR code, for pages. What a terminal shows is drawn by the command line."""

from __future__ import annotations

import io


def encode_qr_svg(text: str) -> str:
    """A text as an SVG picture, its quiet zone included."""
    import segno

    picture = io.BytesIO()
    segno.make_qr(text, error="m").save(picture, kind="svg", scale=4, light="#fff", xmldecl=False, nl=False)
    return picture.getvalue().decode("utf-8")
