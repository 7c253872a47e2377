"""The properties: one table from which schemas, documentation and tests follow.

A property is a value. The built-in ones are the rows of the table below; a caller's own ones
are made with `custom_property` and passed with a call, by themselves or in a `Catalogue`.
Nothing outside this room asks for a property by its name.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import wraps
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import polars as pl

from polars_imgmeta.catalogue import batched_kernels, identity, kernels, quality
from polars_imgmeta.catalogue.presets import cleanvision, deepchecks, encord, fastdup, skimage
from polars_imgmeta.exceptions import PropertyError, hint, require_positive
from polars_imgmeta.typing import GroupName, PropertyName

Needs: TypeAlias = Literal["header", "details", "source", "bytes", "intensity", "picture"]
"""What a property is computed from; see [`Property`][polars_imgmeta.Property]."""

RESERVED: Final = ("error", "auto_extracted")
"""Names of fields that are no properties."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of images.

    Attributes:
        name: The property and its field; an identifier.
        dtype: The dtype of the field. Unsigned integers are not allowed, because Delta and
            Iceberg have none.
        needs: What the kernel takes. `"header"`: format, size and orientation, read without
            decoding; `"details"`: what else the file says of itself, such as its colour mode
            and Exif, also without decoding; `"source"`: file size, modification time and ETag; `"bytes"`: the
            encoded image; `"intensity"`: the grey picture Y, `uint8` of shape (rows,
            columns); `"picture"`: the picture as a viewer shows it, `uint8` of shape (rows,
            columns, 3), in the order BGR.
        unit: The unit of the value.
        minimum: The minimum possible value, or None without a limit.
        maximum: The maximum possible value, or None without a limit.
        description: One sentence, without the full stop.
        kernel: The function that computes it.
        batched_kernel: The same for a batch of small pictures of one size, equal to the last
            bit, where that is faster.
        version: The version of its definition. A row that was computed by another version is
            stale, and `extract` computes its value again.
        nullable: Whether it may be null although the image could be read.
    """

    name: str
    dtype: pl.DataType
    needs: Needs
    unit: str
    minimum: float | None
    maximum: float | None
    description: str
    kernel: Callable[[Any], Any] = field(repr=False)
    batched_kernel: Callable[[Any], Sequence[Any]] | None = field(default=None, repr=False)
    version: int = 1
    nullable: bool = False

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 - what `needs` says
        """Compute the property of one image."""
        return self.kernel(value)

    @property
    def built_in(self) -> bool:
        """Whether it is one of this package."""
        return _BUILT_IN.get(self.name) is self

    def measure_batch(self, batch: Any) -> Sequence[Any]:  # noqa: ANN401 - what `needs` says
        """Compute the property of each picture of a batch."""
        if self.batched_kernel is None or len(batch) == 1:
            return [self.kernel(picture) for picture in batch]
        return self.batched_kernel(batch)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name or import path, so that a process uses its own definition."""
        if self.built_in:
            return _built_in, (self.name,)
        module = getattr(self.kernel, "__module__", "")
        path = getattr(self.kernel, "__qualname__", "<unknown>")
        with suppress(AttributeError, KeyError):
            if attrgetter(path)(sys.modules[module]) is self:
                return _import_property, (module, path)
        # Such a pickler takes functions by value.
        if not any(name.endswith("cloudpickle") for name in sys.modules):
            msg = (
                f"the property {self.name!r} must be importable to reach another process,"
                f" got {module}.{path}\n\nHint: define it at the top level of a module"
            )
            raise pickle.PicklingError(msg)
        return Property, tuple(getattr(self, one.name) for one in fields(self))


def _built_in(name: str) -> Property:
    return _BUILT_IN[name]


def _import_property(module: str, path: str) -> Property:
    return cast("Property", attrgetter(path)(import_module(module)))


def custom_property(
    *,
    needs: Needs,
    dtype: pl.DataType | type[pl.DataType],
    version: int = 1,
    name: str | None = None,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    description: str | None = None,
    nullable: bool = False,
) -> Callable[[Callable[[Any], Any]], Property]:
    """Make a property of a function, to be passed to `extract`, `add` and `configure`.

    The property is computed in the same decode as all others. What the function raises, or
    returns of another dtype, becomes the error of that row and spares its other properties.

    Args:
        needs: What the function takes: see [`Property`][polars_imgmeta.Property].
        dtype: The dtype of what it returns: a signed integer, a float, String, Boolean,
            Date, Datetime, Duration, or a List or Array of these.
        version: The version of its definition; raise it when the formula changes, and
            `extract` computes again what the earlier version has computed.
        name: The name of the field; that of the function unless given.
        unit: The unit of the value.
        minimum: The minimum possible value.
        maximum: The maximum possible value.
        description: One sentence; the first line of the function's docstring unless given.
        nullable: Whether the function may return None.

    Returns:
        A decorator that turns the function into a
        [`Property`][polars_imgmeta.Property], which can still be called.

    Raises:
        PropertyError: If the name is taken or no identifier, or if the dtype is none that
            Parquet, Delta and Iceberg can hold.
        ValueError: If `needs` or `version` is out of range.

    Examples:
        >>> @im.custom_property(needs="picture", dtype=pl.Float64, minimum=-1, maximum=1)
        ... def warmth(picture):
        ...     '''Mean of red minus blue, over 255.'''
        ...     return float((picture[..., 2] / 255 - picture[..., 0] / 255).mean())
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", ["width", warmth])
        >>> df["path_imgmeta"].struct.field("warmth").to_list()
        [0.0]
    """
    if needs not in get_args(Needs):
        listing = ", ".join(map(repr, get_args(Needs)))
        msg = f"`needs` must be one of {listing}, got {needs!r}{hint(needs, get_args(Needs))}"
        raise ValueError(msg)
    require_positive("version", version)
    instance = _require_dtype(dtype)

    def make(function: Callable[[Any], Any]) -> Property:
        own = name or function.__name__
        _require_name(own)
        lines = (function.__doc__ or "").strip().splitlines()
        text = description or (lines[0].rstrip(".") if lines else own.replace("_", " "))
        return Property(
            own, instance, needs, unit, minimum, maximum, text, function, None, version, nullable
        )

    return make


def _require_name(name: object) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        msg = f"`name` of a property must be an identifier, got {name!r}"
        raise PropertyError(msg)
    # DuckDB and Delta take names that differ in case alone for one.
    if name.lower() in {*RESERVED, *CATALOGUE, *GROUPS}:
        msg = f"`name` of a property must be a new one, got {name!r}, which has a meaning already"
        raise PropertyError(msg)


def _require_dtype(dtype: object) -> pl.DataType:
    instance = inner = _instance(dtype)
    while isinstance(inner, pl.List | pl.Array):
        inner = _instance(inner.inner)
    plain = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Duration)
    numbers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64)
    if not isinstance(inner, (*plain, *numbers)):
        msg = (
            "`dtype` of a property must be a signed integer of at most 64 bits, a float, String, Boolean, Date,"
            f" Datetime or Duration, or a List or Array of these, got {dtype}"
        )
        raise PropertyError(msg)
    return cast("pl.DataType", instance)


def _instance(dtype: object) -> object:
    return dtype() if isinstance(dtype, type) and issubclass(dtype, pl.DataType) else dtype


class PropertySet:
    """Properties that are computed together, by what they need.

    Compared by identity, because sets are keys of batches: make one for each combination.

    Args:
        properties: The properties.

    Attributes:
        properties: All of them.
        names: The names of all of them.
        of_source: The properties that need facts of the source.
        of_header: The properties that need the header.
        of_details: The properties that need the details.
        of_bytes: The properties that need the encoded image.
        of_pixels: The properties that need the decoded picture.
        whole: Whether the whole image has to be read.
        built_in: Whether all of them are built in, so that none fails by itself.
    """

    __slots__ = (
        *("built_in", "names", "of_bytes", "of_details", "of_header", "of_pixels", "of_source"),
        *("properties", "whole"),
    )

    def __init__(self, properties: Iterable[Property]) -> None:
        self.properties = listed = tuple(properties)
        self.names = tuple(one.name for one in listed)
        self.of_source = tuple(one for one in listed if one.needs == "source")
        self.of_header = tuple(one for one in listed if one.needs == "header")
        self.of_details = tuple(one for one in listed if one.needs == "details")
        self.of_bytes = tuple(one for one in listed if one.needs == "bytes")
        self.of_pixels = tuple(one for one in listed if one.needs in {"intensity", "picture"})
        self.built_in = all(one.built_in for one in listed)
        self.whole = bool(self.of_bytes or self.of_pixels)


def _of_shape(kernel: Callable[[kernels.Shape], float]) -> Callable[[Any], float]:
    """Let a kernel of rows and columns take a header."""

    @wraps(kernel)
    def of_header(header: Any) -> float:  # noqa: ANN401 - a header, which is above this room's kernels
        return kernel((header.height, header.width))

    return of_header


def _detail(
    name: PropertyName,
    dtype: pl.DataType,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    nullable: bool = True,
) -> Property:
    """Make a property of a detail, which a file may lack."""
    kernel = attrgetter(name)
    return Property(
        name, dtype, "details", unit, minimum, maximum, description, kernel, nullable=nullable
    )


_UTC: Final = pl.Datetime("us", "UTC")

_ROWS = (
    Property("width", pl.Int32(), "header", "pixels", 1, None, "Columns of the picture", _of_shape(kernels.width)),
    Property("height", pl.Int32(), "header", "pixels", 1, None, "Rows of the picture", _of_shape(kernels.height)),
    Property("size", pl.Int64(), "header", "pixels", 1, None, "Width times height", _of_shape(kernels.size)),
    Property("aspect_ratio", pl.Float64(), "header", "ratio", 0, None, "Width divided by height", _of_shape(kernels.aspect_ratio)),
    Property("brightness", pl.Float64(), "intensity", "fraction", 0, 1, "Mean intensity, over 255", kernels.brightness, batched_kernels.brightness),
    Property("contrast", pl.Float64(), "intensity", "fraction", 0, 0.6375, "Standard deviation of the intensity, over 200", kernels.contrast, batched_kernels.contrast),
    Property("sharpness", pl.Float64(), "intensity", "fraction", 0, 1, "Fraction of pixels that Canny marks as edge", kernels.sharpness, batched_kernels.sharpness),
    Property("pixel_entropy", pl.Float64(), "picture", "bits", 0, 24, "Shannon entropy of the distribution of colours", kernels.pixel_entropy, batched_kernels.pixel_entropy),
    Property("symmetry", pl.Float64(), "intensity", "fraction", 0, 1, "Likeness of the left half and the mirrored right half", kernels.symmetry, batched_kernels.symmetry),
    Property("file_size", pl.Int64(), "source", "bytes", 0, None, "Size of the encoded image", attrgetter("file_size")),
    Property("modified", _UTC, "source", "", None, None, "When the file or object was last modified", attrgetter("modified"), nullable=True),
    Property("etag", pl.String(), "source", "", None, None, "Entity tag that the server gave the object", attrgetter("etag"), nullable=True),
    Property("format", pl.String(), "header", "", None, None, "Format of the file, by Pillow's name", attrgetter("format")),
    _detail("mode", pl.String(), "Colour mode of the file, by Pillow's name"),
    _detail("channels", pl.Int32(), "Samples of a pixel in the file", minimum=1),
    _detail("bit_depth", pl.Int32(), "Bits of a sample in the file", unit="bits", minimum=1),
    _detail("frames", pl.Int32(), "Frames or pages of the file", minimum=1),
    _detail("orientation", pl.Int32(), "Orientation that the file declares, by Exif", minimum=1, maximum=8, nullable=False),
    _detail("has_alpha", pl.Boolean(), "Whether pixels of the file can be transparent"),
    _detail("has_icc_profile", pl.Boolean(), "Whether the file has a colour profile"),
    _detail("captured", pl.Datetime("us"), "When the picture was taken, by the clock of the camera"),
    _detail("captured_offset", pl.Int32(), "Offset of that clock from UTC, positive in the east", unit="minutes", minimum=-840, maximum=840),
    _detail("camera_make", pl.String(), "Manufacturer of the camera"),
    _detail("camera_model", pl.String(), "Model of the camera"),
    _detail("latitude", pl.Float64(), "Where the picture was taken, positive in the north", unit="degrees", minimum=-90, maximum=90),
    _detail("longitude", pl.Float64(), "Where the picture was taken, positive in the east", unit="degrees", minimum=-180, maximum=180),
    Property("file_digest", pl.String(), "bytes", "", None, None, "SHA-256 of the encoded image", identity.file_digest),
    Property("pixel_digest", pl.String(), "picture", "", None, None, "SHA-256 of the picture, as binary PPM", identity.pixel_digest),
    Property("perceptual_hash", pl.Int64(), "intensity", "", None, None, "64 bits that are similar for pictures that look similar", identity.perceptual_hash, identity.perceptual_hashes),
    Property("blur", pl.Float64(), "intensity", "grey levels squared", 0, 1040400, "Variance of the Laplacian, low where blurred", quality.blur),
    Property("grid_blur", pl.Float64(), "intensity", "grey levels squared", 0, 1040400, "Variance of the Laplacian on at most 128 x 128 cells", quality.grid_blur),
    Property("noise", pl.Float64(), "intensity", "grey levels", 0, 427, "Standard deviation of the noise", quality.noise),
    Property("blockiness", pl.Float64(), "intensity", "fraction", 0, 1, "Excess of differences across the blocks of JPEG", quality.blockiness),
    Property("shadow_clipping", pl.Float64(), "intensity", "fraction", 0, 1, "Fraction of pixels that are black", quality.shadow_clipping),
    Property("highlight_clipping", pl.Float64(), "intensity", "fraction", 0, 1, "Fraction of pixels that are white", quality.highlight_clipping),
    Property("grey_entropy", pl.Float64(), "intensity", "bits", 0, 8, "Shannon entropy of the distribution of intensities", quality.grey_entropy),
    Property("vignetting", pl.Float64(), "intensity", "fraction", -1, 1, "How much darker the corners are than the centre", quality.vignetting),
    Property("border", pl.Float64(), "intensity", "fraction", 0, 1, "Fraction of pixels in a uniform frame", quality.border),
    Property("saturation", pl.Float64(), "picture", "fraction", 0, 1, "Mean saturation", quality.saturation),
    Property("colourfulness", pl.Float64(), "picture", "", 0, 298, "Colourfulness of Hasler and Suesstrunk", quality.colourfulness),
    Property("is_greyscale", pl.Boolean(), "picture", "", None, None, "Whether every pixel is grey", quality.is_greyscale),
    Property("dominant_colour", pl.String(), "picture", "", None, None, "Mean of the most frequent of 512 colours, as #rrggbb", quality.dominant_colour),
    Property("cleanvision_dark", pl.Float64(), "picture", "fraction", 0, 1, "CleanVision's score, dark below 0.32", cleanvision.cleanvision_dark),
    Property("cleanvision_light", pl.Float64(), "picture", "fraction", 0, 1, "CleanVision's score, light below 0.05", cleanvision.cleanvision_light),
    Property("cleanvision_low_information", pl.Float64(), "picture", "fraction", 0, 1, "CleanVision's score, of low information below 0.3", cleanvision.cleanvision_low_information),
    Property("cleanvision_blurry", pl.Float64(), "picture", "fraction", 0, 1, "CleanVision's score, blurry below 0.29", cleanvision.cleanvision_blurry),
    Property("cleanvision_odd_aspect_ratio", pl.Float64(), "header", "fraction", 0, 1, "CleanVision's score, of odd proportions below 0.35", _of_shape(cleanvision.cleanvision_odd_aspect_ratio)),
    Property("cleanvision_size", pl.Float64(), "header", "pixels", 1, None, "Root of the number of pixels, as in CleanVision", _of_shape(cleanvision.cleanvision_size)),
    Property("deepchecks_aspect_ratio", pl.Float64(), "header", "ratio", 0, None, "Height divided by width, as in Deepchecks", _of_shape(deepchecks.deepchecks_aspect_ratio)),
    Property("deepchecks_brightness", pl.Float64(), "picture", "grey levels", 0, 255, "Brightness of Deepchecks, the mean luminance", deepchecks.deepchecks_brightness),
    Property("deepchecks_rms_contrast", pl.Float64(), "picture", "grey levels", 0, 127.5, "RMS contrast of Deepchecks, the standard deviation of the luminance", deepchecks.deepchecks_rms_contrast),
    Property("deepchecks_mean_red_relative_intensity", pl.Float64(), "picture", "fraction", 0, 1, "Mean of red over the sum of the channels, as in Deepchecks", deepchecks.deepchecks_mean_red_relative_intensity),
    Property("deepchecks_mean_green_relative_intensity", pl.Float64(), "picture", "fraction", 0, 1, "Mean of green over the sum of the channels, as in Deepchecks", deepchecks.deepchecks_mean_green_relative_intensity),
    Property("deepchecks_mean_blue_relative_intensity", pl.Float64(), "picture", "fraction", 0, 1, "Mean of blue over the sum of the channels, as in Deepchecks", deepchecks.deepchecks_mean_blue_relative_intensity),
    Property("encord_brightness", pl.Float64(), "picture", "fraction", 0, 1, "Brightness of Encord, the mean of all samples, over 255", encord.encord_brightness),
    Property("encord_contrast", pl.Float64(), "picture", "fraction", 0, 0.5, "Contrast of Encord, the standard deviation of all samples, over 255", encord.encord_contrast),
    Property("encord_sharpness", pl.Float64(), "picture", "grey levels squared", 0, 1040400, "Sharpness of Encord, the variance of the Laplacian of all channels", encord.encord_sharpness),
    Property("fastdup_mean", pl.Float64(), "picture", "grey levels", 0, 255, "Mean of fastdup, of all samples", fastdup.fastdup_mean),
    Property("fastdup_stdv", pl.Float64(), "picture", "grey levels", 0, 127.5, "Deviation of fastdup, the mean of those of the channels", fastdup.fastdup_stdv),
    Property("fastdup_min", pl.Int32(), "picture", "grey levels", 0, 255, "Minimum of fastdup, the smallest sample", fastdup.fastdup_min),
    Property("fastdup_max", pl.Int32(), "picture", "grey levels", 0, 255, "Maximum of fastdup, the largest sample", fastdup.fastdup_max),
    Property("fastdup_contrast", pl.Float64(), "picture", "fraction", 0, 1, "Contrast of fastdup, by the smallest and the largest sample", fastdup.fastdup_contrast),
    Property("fastdup_unique", pl.Int32(), "picture", "", 1, 256, "Unique values of fastdup, the number of different samples", fastdup.fastdup_unique),
    Property("fastdup_blur", pl.Float64(), "picture", "grey levels squared", 0, 1040400, "Blur of fastdup, the variance of the Laplacian of blue", fastdup.fastdup_blur),
    Property("skimage_blur_effect", pl.Float64(), "picture", "fraction", 0, 1, "Blur effect of scikit-image, high where blurred", skimage.skimage_blur_effect, nullable=True),
)  # fmt: skip
_BUILT_IN: Final = {row.name: row for row in _ROWS}

GROUPS: Final[dict[GroupName, tuple[PropertyName, ...]]] = {
    "geometry": ("width", "height", "size", "aspect_ratio"),
    "standard": get_args(PropertyName)[:9],
    "source": ("file_size", "modified", "etag"),
    "file": get_args(PropertyName)[12:26],
    "identity": get_args(PropertyName)[26:29],
    "quality": get_args(PropertyName)[29:42],
    "cleanvision": get_args(PropertyName)[42:48],
    "deepchecks": get_args(PropertyName)[48:54],
    "encord": get_args(PropertyName)[54:57],
    "fastdup": get_args(PropertyName)[57:64],
    "skimage": get_args(PropertyName)[64:65],
}
"""Named sets. `standard` stays these nine, whatever the catalogue grows to."""


class Catalogue(Mapping[str, Property]):
    """The built-in properties and, beside them, those of a caller.

    Args:
        properties: The caller's own ones, made with
            [`custom_property`][polars_imgmeta.custom_property].

    Raises:
        PropertyError: If two have the same name.

    Examples:
        >>> @im.custom_property(needs="header", dtype=pl.String)
        ... def image_format(header):
        ...     return header.format
        >>> ours = im.Catalogue([image_format])
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.extract(df, "path", ["width", "image_format"], catalogue=ours)["path_imgmeta"][0]
        {'width': 320, 'image_format': 'PNG', 'error': None, 'auto_extracted': 'path@...'}
    """

    def __init__(self, properties: Iterable[Property] = ()) -> None:
        self._rows = dict(_BUILT_IN)
        for one in properties:
            if self._rows.setdefault(one.name, one) is not one:
                msg = f"a catalogue must have each name once, got {one.name!r} twice"
                raise PropertyError(msg)

    @classmethod
    def discover(cls) -> Catalogue:
        """Return a catalogue with what installed packages offer.

        They do so by entry points of the group `polars_imgmeta.properties`, each of which
        names a property.
        """
        return cls(entry.load() for entry in entry_points(group="polars_imgmeta.properties"))

    def __getitem__(self, name: str) -> Property:
        """A property."""
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which a column holds its fields."""
        return iter(canonical_order(self._rows))

    def __len__(self) -> int:
        """The number of properties."""
        return len(self._rows)

    def __hash__(self) -> int:
        """By identity of the properties."""
        return hash(tuple(self._rows))

    def __repr__(self) -> str:
        """The caller's own properties by name, and the number of built-in ones."""
        own = [name for name in self if name not in _BUILT_IN]
        return f"Catalogue({', '.join([*own, f'{len(_BUILT_IN)} built-in properties'])})"

    def resolve(self, properties: object) -> tuple[Property, ...]:
        """Turn what a caller wrote into properties, once each, in canonical order.

        Args:
            properties: A name of a property or group, a property, or several of these.

        Raises:
            PropertyError: If a name is unknown, a property is of the name of another one, or
                there is none.

        Examples:
            >>> [one.name for one in im.CATALOGUE.resolve(["brightness", "geometry"])]
            ['width', 'height', 'size', 'aspect_ratio', 'brightness']
        """
        wanted: dict[str, Property] = {}
        for one in _flatten(properties):
            if isinstance(one, Property):
                known = wanted.get(one.name) or self._rows.get(one.name, one)
                if known != one:
                    msg = f"`properties` must have one meaning a name, got two of {one.name!r}"
                    raise PropertyError(msg)
                wanted[one.name] = one
            elif isinstance(one, str) and one in self._rows:
                wanted[one] = self._rows[one]
            elif isinstance(one, str) and one in GROUPS:
                wanted.update((name, self._rows[name]) for name in GROUPS[one])
            else:
                known_names = (*self, *GROUPS)
                msg = (
                    f"`properties` must name known properties, got {one!r}"
                    f"{_advice(one, known_names)}\n\nKnown: {', '.join(known_names)}"
                )
                raise PropertyError(msg)
        if not wanted:
            msg = (
                "`properties` must name at least one property, got none"
                "\n\nHint: such as 'brightness', or the group 'standard'"
            )
            raise PropertyError(msg)
        return tuple(wanted[name] for name in canonical_order(wanted))


CATALOGUE: Final = Catalogue()
"""Every built-in property by name, in the order in which a column holds its fields."""

PropertyLike: TypeAlias = PropertyName | GroupName | str | Property
"""A property, or the name of one or of a group."""

PropertiesLike: TypeAlias = PropertyLike | Iterable[PropertyLike]
"""One or several properties."""


def canonical_order(names: Iterable[str]) -> list[str]:
    """Sort names of properties as a column holds them: built-in ones first, then by name.

    Examples:
        >>> canonical_order(["warmth", "height", "bokeh", "width"])
        ['width', 'height', 'bokeh', 'warmth']
    """
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))


_PLACES: Final = {row.name: place for place, row in enumerate(_ROWS)}


def _advice(given: object, known: Iterable[str]) -> str:
    """Return a hint for what is no property, or an empty string."""
    if callable(given):
        return "\n\nHint: make a property of a function with `custom_property`"
    if isinstance(given, str) and "," in given:
        return (
            f"\n\nHint: give several names as a list, {[one.strip() for one in given.split(',')]}"
        )
    return hint(given, known)


def _flatten(names: object) -> Iterator[object]:
    """Yield names and properties one by one, whether they came singly or in lists."""
    if isinstance(names, str | Property) or not isinstance(names, Iterable):
        yield names
    else:
        for name in names:
            yield from _flatten(name)
