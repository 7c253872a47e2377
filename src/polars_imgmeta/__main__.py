"""What `python -m polars_imgmeta` runs."""

import sys

from polars_imgmeta.cli.command import main

sys.exit(main())
