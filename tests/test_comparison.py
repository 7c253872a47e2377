"""The comparison with other tools: the README repeats what the page says."""

import comparison


def test_the_readme_has_rows_of_the_page() -> None:
    """Both were written by one run of the script, and no row that the README names is missing."""
    page = comparison.shorten(comparison.written(comparison.PAGE))
    assert comparison.written(comparison.README) == page
    assert page.count("\n| ") == 1 + len(comparison.IN_README)
