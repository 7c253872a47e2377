"""A catalog of Iceberg tables in a folder."""

from __future__ import annotations

from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import NullPool, create_engine


class FolderCatalog(SqlCatalog):
    """Keeps no connection open, because Polars makes instances that it does not close."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self.close()
        self.engine = create_engine(self.properties["uri"], poolclass=NullPool)


def make_catalog(folder: Path) -> FolderCatalog:
    """Make a catalog with the namespace `n`."""
    uri = f"sqlite:///{folder}/c.db"
    catalog = FolderCatalog("c", uri=uri, warehouse=folder.as_uri())
    catalog.create_namespace("n")
    return catalog
