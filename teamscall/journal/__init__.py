"""The append-only truth about calls: what happened, when, how it ended, and how fast it was.

What was said reaches the disk only where ``journal.transcripts`` and the moment allow it
(``spoken``), digits never. ``store`` writes, from a thread that cannot stall a call, and lets
``upkeep`` remove what is too old or too much; ``kept`` is what has to outlive the process;
``readers`` and ``history`` read, beside a running bridge; ``forget`` removes for good;
``schema`` is the file. Refuses to know audio.
"""
