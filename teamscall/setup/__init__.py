"""From nothing to a configuration: what ``teamscall init`` writes, takes over and explains.

Owns the commented file, the secret files beside it, the words about the other side, the units,
the import of another program's settings and the Teams app package. Refuses to know the
terminal: whoever asks the questions hands over a ``Plan``.
"""
