"""OpenCV, or an error that says which packages of the system it lacks."""

from __future__ import annotations

try:
    import cv2
except ImportError as error:
    msg = (
        f"OpenCV cannot be imported: {error}\n\n"
        "Hint: opencv-python links libraries of the desktop. On a slim Debian or Ubuntu install "
        "the packages libgl1 and libglib2.0-0, or replace opencv-python by opencv-python-headless."
    )
    raise ImportError(msg) from error

__all__ = ["cv2"]
