"""The conversation: what is said when, what was heard, and when it ends.

Owns the pure state machine, turn taking, limits, the registry of slots and the one file
that runs a call. Refuses to know sockets, vendors' names and the terminal.
"""
