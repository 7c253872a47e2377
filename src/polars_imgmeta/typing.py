"""The closed vocabularies of polars-imgmeta, as static types.

Each alias is the single place where its words are written; what needs them at
run time derives them with [`typing.get_args`][].
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import polars as pl

PropertyName: TypeAlias = Literal[
    "width",
    "height",
    "size",
    "aspect_ratio",
    "brightness",
    "contrast",
    "sharpness",
    "pixel_entropy",
    "symmetry",
    "file_size",
    "modified",
    "etag",
    "format",
    "mode",
    "channels",
    "bit_depth",
    "frames",
    "orientation",
    "has_alpha",
    "has_icc_profile",
    "captured",
    "captured_offset",
    "camera_make",
    "camera_model",
    "latitude",
    "longitude",
    "file_digest",
    "pixel_digest",
    "perceptual_hash",
    "blur",
    "grid_blur",
    "noise",
    "blockiness",
    "shadow_clipping",
    "highlight_clipping",
    "grey_entropy",
    "vignetting",
    "border",
    "saturation",
    "colourfulness",
    "is_greyscale",
    "dominant_colour",
    "cleanvision_dark",
    "cleanvision_light",
    "cleanvision_low_information",
    "cleanvision_blurry",
    "cleanvision_odd_aspect_ratio",
    "cleanvision_size",
    "deepchecks_aspect_ratio",
    "deepchecks_brightness",
    "deepchecks_rms_contrast",
    "deepchecks_mean_red_relative_intensity",
    "deepchecks_mean_green_relative_intensity",
    "deepchecks_mean_blue_relative_intensity",
    "encord_brightness",
    "encord_contrast",
    "encord_sharpness",
    "fastdup_mean",
    "fastdup_stdv",
    "fastdup_min",
    "fastdup_max",
    "fastdup_contrast",
    "fastdup_unique",
    "fastdup_blur",
    "skimage_blur_effect",
]
"""A built-in property, which is also the name of its field, in catalogue order."""

GroupName: TypeAlias = Literal[
    "geometry",
    "standard",
    "source",
    "file",
    "identity",
    "quality",
    "cleanvision",
    "deepchecks",
    "encord",
    "fastdup",
    "skimage",
]
"""A named set of properties."""

ErrorKind: TypeAlias = Literal[
    "not_found",
    "access_denied",
    "unreachable",
    "invalid_locator",
    "unsupported",
    "corrupt",
    "too_large",
    "property_failed",
]
"""Why a row has no values: the word before the colon in its `error`."""

SourceField: TypeAlias = Literal["file_size", "modified", "etag"]
"""A fact that shows whether an image has changed at its source."""

State: TypeAlias = Literal["missing", "stale", "gone", "changed", "failed", "ok"]
"""The state of a row; of several that apply, the first one."""

Severity: TypeAlias = Literal["low", "medium", "high"]
"""How bad an issue is, least severe first."""

OutlierMethod: TypeAlias = Literal["mad", "quartiles", "ratio"]
"""How thresholds follow from data; see [`OutlierRule`][polars_imgmeta.OutlierRule]."""

Side: TypeAlias = Literal["both", "below", "above"]
"""On which side of its thresholds a value is an issue."""

Drift: TypeAlias = Literal["too few", "alike", "shifted"]
"""Whether the values of a property differ between two data sets."""

PreviewLayout: TypeAlias = Literal["table", "grid"]
"""How `show` arranges rows: as a table, or as pictures with captions."""

OnError: TypeAlias = Literal["null", "raise"]
"""What a row whose image cannot be read does: become nulls with an `error`, or raise."""

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame
"""An eager or a lazy frame."""

FrameT = TypeVar("FrameT", pl.DataFrame, pl.LazyFrame)
"""The kind of frame that a verb was given and returns."""
