"""Leave the extension of the site's generator out of the tests, which run without mkdocs."""

collect_ignore = ["signatures.py"]
