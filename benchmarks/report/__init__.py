"""Results as one Markdown page with tables and plots, and as the README's table.

`found` reads result files, `retrieval`, `properties` and `speed` make tables, `curves`, `reliability` and
`fronts` draw, `page` puts it together; `suite_page` is the page that `bench suite` writes beside its results.
"""

from benchmarks.report.suite import suite_page

__all__ = ["suite_page"]
