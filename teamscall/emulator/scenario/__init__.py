"""Scripted callers: what a caller does, step by step, and what must come of it.

Owns the script's format (``file``), its steps (``steps``), their play (``performance``, pure,
on the audio clock), the verdict (``judging``), many callers at once (``load``) and what is
compared between two runs (``baseline``). Refuses to know engines, the bridge and terminals:
a voice, ears and a witness of the bridge are given (``senses``).

``file.read_scenario`` reads a script, ``run.play`` plays it.
"""
