"""What a camera sees: a QR code as an endless video."""

from __future__ import annotations

from pathlib import Path

import segno

WIDTH, HEIGHT, FRAMES = 640, 480, 5
DARK, GREY, LIGHT, NO_COLOUR = 16, 180, 235, 128


def film(text: str, path: Path) -> Path:
    """Write a Y4M file that holds the QR code of a text before the camera."""
    modules = [list(row) for row in segno.make(text, error="m").matrix_iter(border=4)]
    size = min(WIDTH, HEIGHT) * 9 // 10 // len(modules)
    side = len(modules) * size
    left, top = (WIDTH - side) // 2, (HEIGHT - side) // 2
    picture = bytearray([GREY]) * (WIDTH * HEIGHT)
    for y in range(side):
        line = b"".join(bytes([DARK if dark else LIGHT]) * size for dark in modules[y // size])
        start = (top + y) * WIDTH + left
        picture[start : start + side] = line
    frame = b"FRAME\n" + bytes(picture) + bytes([NO_COLOUR]) * (WIDTH * HEIGHT // 2)
    header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + frame * FRAMES)
    return path
