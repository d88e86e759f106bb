"""The append-only truth about calls: what happened, when, how it ended, and how fast it was.

Never what was said: nothing that is derived from a caller's media (transcripts, answers,
digits) reaches the disk here. ``store`` writes, from a thread that cannot stall a call;
``readers`` read, beside a running bridge; ``schema`` is the file. Refuses to know audio.
"""
