"""Image properties for Polars.

Importing the package registers the namespace `imgmeta` on data frames, lazy
frames, series and expressions.

Examples:
    >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
    >>> df = df.imgmeta.extract("path", ["width", "brightness"])
    >>> df["path_imgmeta"].struct.field("brightness").to_list()
    [0.2]
"""

from polars_imgmeta import namespaces as _namespaces  # noqa: F401 - registers them with Polars
from polars_imgmeta.analysis.calibration import Calibration, calibrate
from polars_imgmeta.analysis.cases import Quantiles, test_cases
from polars_imgmeta.analysis.checks import GroupBounds
from polars_imgmeta.analysis.drift import compare
from polars_imgmeta.analysis.duplicates import duplicates
from polars_imgmeta.analysis.evaluation import evaluate_cases
from polars_imgmeta.analysis.issues import flag_issues, issues
from polars_imgmeta.analysis.outliers import outliers
from polars_imgmeta.analysis.published_rules import RULE_SETS
from polars_imgmeta.analysis.rule_sets import RuleSet
from polars_imgmeta.analysis.rules import OutlierRule, Rule
from polars_imgmeta.analysis.summaries import Summary, summarise
from polars_imgmeta.catalogue.registry import (
    CATALOGUE,
    GROUPS,
    Catalogue,
    Property,
    custom_property,
)
from polars_imgmeta.display.case_plotting import plot_cases
from polars_imgmeta.display.plotting import plot
from polars_imgmeta.display.report.writing import report
from polars_imgmeta.display.showing import Preview, show
from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.digest import Digest, digest
from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ColumnError,
    CorruptError,
    ImageError,
    ImgmetaError,
    InvalidLocatorError,
    JobError,
    NotFoundError,
    PropertyError,
    PropertyFailedError,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from polars_imgmeta.execution.progress import Progress
from polars_imgmeta.execution.runtime import set_thread_count, thread_count
from polars_imgmeta.io.access import Access
from polars_imgmeta.jobs.runner import run
from polars_imgmeta.jobs.summary import JobSummary
from polars_imgmeta.measuring.options import Sandbox
from polars_imgmeta.sandbox.measurement import sandbox_gaps
from polars_imgmeta.verbs.editing import add, configure, refresh, remove, retry
from polars_imgmeta.verbs.export import (
    sink_iceberg,
    sink_parquet,
    to_arrow,
    write_delta,
    write_parquet,
)
from polars_imgmeta.verbs.extraction import extract, extract_expr, extract_series
from polars_imgmeta.verbs.inspection import (
    Provenance,
    columns,
    errors,
    nest,
    properties,
    provenance,
    status,
    unnest,
)
from polars_imgmeta.verbs.scanning import scan_images

__version__ = "0.1.0"

__all__ = [
    "CATALOGUE",
    "GROUPS",
    "RULE_SETS",
    "Access",
    "AccessDeniedError",
    "ArrowExtractor",
    "Calibration",
    "Catalogue",
    "ColumnError",
    "CorruptError",
    "Digest",
    "GroupBounds",
    "ImageError",
    "ImgmetaError",
    "InvalidLocatorError",
    "JobError",
    "JobSummary",
    "NotFoundError",
    "OutlierRule",
    "Preview",
    "Progress",
    "Property",
    "PropertyError",
    "PropertyFailedError",
    "Provenance",
    "Quantiles",
    "Rule",
    "RuleSet",
    "Sandbox",
    "Summary",
    "TooLargeError",
    "UnreachableError",
    "UnsupportedError",
    "add",
    "calibrate",
    "columns",
    "compare",
    "configure",
    "custom_property",
    "digest",
    "duplicates",
    "errors",
    "evaluate_cases",
    "extract",
    "extract_expr",
    "extract_series",
    "flag_issues",
    "issues",
    "nest",
    "outliers",
    "plot",
    "plot_cases",
    "properties",
    "provenance",
    "refresh",
    "remove",
    "report",
    "retry",
    "run",
    "sandbox_gaps",
    "scan_images",
    "set_thread_count",
    "show",
    "sink_iceberg",
    "sink_parquet",
    "status",
    "summarise",
    "test_cases",
    "thread_count",
    "to_arrow",
    "unnest",
    "write_delta",
    "write_parquet",
]


def __dir__() -> list[str]:
    return __all__
