"""Leave the scripts of the site out of the tests, which run without its generator."""

collect_ignore = ["build.py", "llms.py", "notebooks.py", "signatures.py"]
