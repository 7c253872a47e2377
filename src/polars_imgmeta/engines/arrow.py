"""The extraction as a function on Arrow data, which every engine can call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, PropertiesLike, Property
from polars_imgmeta.column import structs
from polars_imgmeta.engines import companion
from polars_imgmeta.engines.grants import use_grant
from polars_imgmeta.exceptions import ColumnError, require_positive
from polars_imgmeta.measuring.options import EngineOptions, Reading, takes
from polars_imgmeta.verbs.export import annotated_field
from polars_imgmeta.verbs.extraction import extract, name_of

if TYPE_CHECKING:
    # pyarrow takes longer to import than this package, so functions import it when called.
    import pyarrow as pa


@takes(EngineOptions)
@dataclass(frozen=True, slots=True, init=False)
class ArrowExtractor:
    """A function on Arrow data that makes or completes an auto-extracted column.

    Called with a batch, it returns the batch with the column that
    [`extract`][polars_imgmeta.extract] makes: appended at the end or, where it exists
    already, completed in its place. Values, errors, markers and rules are those of `extract`.
    All other columns, their types, and all metadata stay as they are.

    An instance is plain data. It can be pickled, and works in threads, and in processes that
    were spawned or forked. In a worker of Ray, Spark or Dask it uses as many threads, and as
    much memory, as the engine granted.

    Args:
        locator: The column that locates the images: of strings, binary, or structs of `bytes`
            and `path`, plain, large, as views or as a dictionary.
        properties: Names of properties or groups, or properties of one's own, one or several.
        into: The name of the struct column; `<locator>_imgmeta` unless given.
        threads: The number of threads of each process that calls it, as for
            [`set_thread_count`][polars_imgmeta.set_thread_count]. By default what the engine
            granted, or else the number that the process has already.
        options: See `EngineOptions`.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If `into` is no name.
        ValueError: If an option is out of range or unknown.

    Examples:
        >>> import pyarrow as pa
        >>> extractor = im.ArrowExtractor("path", ["width", "brightness"])
        >>> batch = pa.record_batch({"path": ["photos/dusk.png", None]})
        >>> extractor(batch)["path_imgmeta"].field("brightness").to_pylist()
        [0.2, None]
    """

    locator: str
    properties: tuple[str | Property, ...]
    into: str
    threads: int | None
    options: Mapping[str, Any] = field(repr=False)  # contains secrets

    def __init__(
        self,
        locator: str,
        properties: PropertiesLike = "standard",
        *,
        into: str | None = None,
        threads: int | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        if not isinstance(locator, str):
            msg = f"`locator` must be the name of a column, got {locator!r}"
            raise ColumnError(msg)
        if threads is not None:
            require_positive("threads", threads)
        resolved = Reading.of(EngineOptions, options).catalogue.resolve(properties)
        # By their names where possible, so that workers use their own definitions.
        named = tuple(one.name if one.built_in else one for one in resolved)
        for name, value in {
            "locator": locator,
            "properties": named,
            "into": name_of(into, locator),
            "threads": threads,
            "options": dict(options),
        }.items():
            object.__setattr__(self, name, value)

    def __call__(self, batch: Any) -> Any:  # noqa: ANN401 - see Args
        """Extract from one batch.

        Args:
            batch: A `pyarrow.RecordBatch` or `pyarrow.Table`, or anything that has the Arrow C
                stream or array interface.

        Returns:
            A record batch for a record batch, and a table for anything else.

        Raises:
            ColumnError: If the locator column is missing or of a type that cannot locate
                images, or if `into` names a column that is not auto-extracted.
            ImageError: Under `on_error="raise"`, for the first row that fails.
        """
        import pyarrow as pa  # noqa: PLC0415 - see above

        table = batch if isinstance(batch, pa.Table | pa.RecordBatch) else pa.table(batch)
        made = self._field_and_values(table)
        position = table.schema.get_field_index(self.into)
        if position < 0:
            return table.append_column(*made)
        return table.set_column(position, *made)

    def schema(self, schema: Any) -> pa.Schema:  # noqa: ANN401 - see Args
        """Return the schema of the result for a schema of the input; no image is read.

        Args:
            schema: A `pyarrow.Schema`, or anything that has the Arrow C schema interface.

        Raises:
            ColumnError: As for a call.

        Examples:
            >>> import pyarrow as pa
            >>> extractor = im.ArrowExtractor("path", "width")
            >>> extractor.schema(pa.schema({"path": pa.string()})).field("path_imgmeta").type
            StructType(struct<width: int32, error: string, auto_extracted: string>)
        """
        import pyarrow as pa  # noqa: PLC0415 - see above

        return self(pa.schema(schema).empty_table()).schema

    def array(
        self,
        locators: Any,  # noqa: ANN401 - see Args
        existing: Any = None,  # noqa: ANN401 - see Args
    ) -> pa.StructArray:
        """Extract from an array, for engines that map arrays.

        Args:
            locators: A `pyarrow.Array` or `pyarrow.ChunkedArray`, or anything that has the
                Arrow C interface of arrays.
            existing: The structs that these rows have already, if there are any.

        Returns:
            The structs, as one array.

        Raises:
            ColumnError, ImageError: As for a call.

        Examples:
            >>> import pyarrow as pa
            >>> paths = pa.array(["photos/dusk.png"])
            >>> im.ArrowExtractor("path", "width").array(paths).field("width").to_pylist()
            [320]
        """
        import pyarrow as pa  # noqa: PLC0415 - see above

        columns = {self.locator: locators}
        if existing is not None:
            columns[self.into] = existing
        return self._field_and_values(pa.table(columns))[1]

    def reader(self, source: Any) -> pa.RecordBatchReader:  # noqa: ANN401 - see Args
        """Extract from a stream, batch by batch, as the result is read.

        Args:
            source: Anything that has the Arrow C stream interface, such as a relation of
                DuckDB, or a data set or scanner of `pyarrow.dataset`.

        Returns:
            A stream of as many batches.

        Raises:
            ColumnError: As for a call.

        Examples:
            >>> import pyarrow as pa
            >>> batches = pa.table({"path": ["photos/dusk.png", "photos/gone.png"]}).to_reader()
            >>> for batch in im.ArrowExtractor("path", "width").reader(batches):
            ...     print(batch["path_imgmeta"].field("width").to_pylist())
            [320, None]
        """
        import pyarrow as pa  # noqa: PLC0415 - see above

        scanner = source.scanner() if hasattr(source, "scanner") else source
        if hasattr(scanner, "to_reader"):
            batches = scanner.to_reader()
        else:
            batches = pa.RecordBatchReader.from_stream(source)
        return pa.RecordBatchReader.from_batches(self.schema(batches.schema), map(self, batches))

    def _field_and_values(
        self, table: pa.Table | pa.RecordBatch
    ) -> tuple[pa.Field, pa.StructArray]:
        """Return the column of the result."""
        use_grant(self.threads)
        reduced = self._reduced(table)
        if companion.is_needed():
            answer = companion.ask(self, reduced)
            return answer.schema.field(self.into), answer.column(self.into).combine_chunks()
        frame = pl.DataFrame(reduced)
        result = extract(
            frame, self.locator, self.properties, into=self.into, progress=False, **self.options
        )
        values = result[self.into].rechunk().to_arrow()
        field = self._field(values.type, result.schema, table.schema)
        return field, values.cast(field.type)

    def _reduced(self, table: pa.Table | pa.RecordBatch) -> pa.Table:
        """Return a table with the names of all columns, and the values of those that count."""
        import pyarrow as pa  # noqa: PLC0415 - see above

        counted = Counter(table.schema.names)
        columns = dict.fromkeys(counted, pa.nulls(table.num_rows))
        for name in {self.locator, self.into} & counted.keys():
            if counted[name] > 1:
                msg = f"the batch must have the column {name!r} once, got it {counted[name]} times"
                raise ColumnError(msg)
            column = table.column(name)
            if isinstance(column.type, pa.BaseExtensionType):
                column = column.cast(column.type.storage_type)
            columns[name] = column
        return pa.table(columns)

    def _field(self, made: pa.DataType, schema: pl.Schema, before: pa.Schema) -> pa.Field:
        """Return the field of the result: in types that every engine knows, with metadata."""
        import pyarrow as pa  # noqa: PLC0415 - see above

        catalogue = self.options.get("catalogue") or CATALOGUE
        described = dict(catalogue) | {one.name: one for one in catalogue.resolve(self.properties)}
        field = pa.field(self.into, plain_type(made))
        field = annotated_field(field, structs.find(schema)[self.into], self.locator, described)
        if self.into not in before.names:
            return field
        # What other tools have written into the metadata stays there.
        old = before.field(self.into)
        kept = {
            child.name: child.metadata or {}
            for child in (old.type if pa.types.is_struct(old.type) else ())
        }
        children = [
            child.with_metadata({**kept.get(child.name, {}), **(child.metadata or {})})
            for child in field.type
        ]
        metadata = {**(old.metadata or {}), **(field.metadata or {})}
        return pa.field(self.into, pa.struct(children), metadata=metadata)


def plain_type(made: pa.DataType) -> pa.DataType:
    """Return the type of the same values that every engine knows: Spark has no large ones."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    if pa.types.is_struct(made):
        return pa.struct([one.with_type(plain_type(one.type)) for one in made])
    if pa.types.is_fixed_size_list(made) or pa.types.is_large_list(made):
        return pa.list_(plain_type(made.value_type))
    return pa.string() if pa.types.is_large_string(made) else made
