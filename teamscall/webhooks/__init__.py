"""Telling others about calls: events to URLs and commands, signed, retried, bounded.

Refuses to know what a call does; it watches records as the log and the journal do.
"""
