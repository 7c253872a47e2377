"""What type checkers make of the accessors."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from mypy import api

CODE = """
    import polars as pl
    import polars_imgmeta as im

    df = pl.DataFrame({"path": ["a.png"]})
    names: list[str] = ["width"]
    reveal_type(df.imgmeta.extract("path", names, sandbox=True))
    reveal_type(df.lazy().imgmeta.add("width"))
    reveal_type(pl.col("path").imgmeta.extract("width"))
    reveal_type(df["path"].imgmeta.extract("width"))
    reveal_type(df.imgmeta.columns())
    reveal_type(im.extract(df, "path"))
    df.imgmeta.extrct("path")
    df.imgmeta.extract("path", nothing=1)
    df.imgmeta.sink_parquet("a.parquet")
    df.imgmata
"""
EXPECTED = [
    'Revealed type is "polars.dataframe.frame.DataFrame"',
    'Revealed type is "polars.lazyframe.frame.LazyFrame"',
    'Revealed type is "polars.expr.expr.Expr"',
    'Revealed type is "polars.series.series.Series"',
    'Revealed type is "list[str]"',
    'Revealed type is "polars.dataframe.frame.DataFrame"',
    '"DataFrameNamespace" has no attribute "extrct"',
    'Unexpected keyword argument "nothing"',
    '"DataFrameNamespace" has no attribute "sink_parquet"',
    '"DataFrame" has no attribute "imgmata"; maybe "imgmeta"?',
]


def check(code: str, folder: Path) -> list[str]:
    """Return what mypy says of a script, with the plugin."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code), "utf-8")
    settings = folder / "mypy.ini"
    settings.write_text("[mypy]\nplugins = polars_imgmeta.mypy\n", "utf-8")
    cache = f"--cache-dir={folder}"
    found, problems, _ = api.run([str(script), f"--config-file={settings}", cache, "--strict"])
    assert not problems
    return re.findall(r"(?:error|note): (.*?)(?:  \[.*\])?$", found, re.MULTILINE)


@pytest.mark.slow
def test_mypy(tmp_path: Path) -> None:
    """With the plugin it knows the accessors, their methods, and what these return."""
    assert check(CODE, tmp_path) == EXPECTED
    (needs,) = check("import polars as pl\npl.DataFrame().imgmeta.columns()\n", tmp_path)
    assert needs == "`imgmeta` needs `import polars_imgmeta`"
