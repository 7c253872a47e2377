"""DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.extras import require

if TYPE_CHECKING:
    import duckdb


def register(
    connection: duckdb.DuckDBPyConnection,
    extractor: ArrowExtractor,
    name: str = "imgmeta",
    *,
    of: Literal["VARCHAR", "BLOB"] = "VARCHAR",
) -> None:
    """Make a scalar function of SQL that extracts.

    Args:
        connection: The connection.
        extractor: What to extract. Markers name its locator column.
        name: The name of the function.
        of: The type of its argument: paths and URLs, or encoded images.

    Raises:
        ImportError: If the extra `duckdb` is not installed.

    Examples:
        >>> import duckdb
        >>> from polars_imgmeta.engines.duckdb import register
        >>> connection = duckdb.connect()
        >>> register(connection, im.ArrowExtractor("path", "geometry"))
        >>> connection.sql("SELECT imgmeta('photos/dusk.png').width").fetchall()
        [(320,)]
    """
    require("duckdb", "duckdb")
    import pyarrow as pa  # noqa: PLC0415 - see above

    kind = {"VARCHAR": pa.string(), "BLOB": pa.binary()}[of]
    result = extractor.schema(pa.schema({extractor.locator: kind}))
    made = pa.schema([result.field(extractor.into)]).empty_table()
    connection.create_function(  # type: ignore[call-overload] # its stubs lack these strings
        name,
        lambda locators: extractor.array(locators),  # noqa: PLW0108 - without annotations
        [of],
        connection.from_arrow(made).types[0],
        type="arrow",
        null_handling="special",  # a null locator has a null struct
    )
