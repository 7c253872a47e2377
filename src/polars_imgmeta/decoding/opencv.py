"""OpenCV, or an ImportError that names the system packages it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

try:
    import cv2
except ImportError as error:
    msg = (
        f"OpenCV cannot be imported: {error}\n\n"
        "Hint: opencv-python links libraries of the desktop. On a slim Debian or Ubuntu install "
        "the packages libgl1 and libglib2.0-0, or replace opencv-python by opencv-python-headless."
    )
    raise ImportError(msg) from error

# `cv2.utils.logging` in version 5, `cv2` in version 4.
_logging: Any = getattr(cv2.utils, "logging", cv2)
get_log_level = cast("Callable[[], int]", _logging.getLogLevel)
set_log_level = cast("Callable[[int], int]", _logging.setLogLevel)

__all__ = ["cv2", "get_log_level", "set_log_level"]
