"""The whole command tree, for whoever looks at all of it: pages, completions, tests."""

from __future__ import annotations

from teamscall.cli.tree import tree

app = tree()
