"""One file per verb: parse, call one function, print.

Nothing heavy is imported at module level: ``teamscall --help`` must stay near bare Typer.
"""
