"""What answers a caller: minds for one call each, behind :class:`engines.parts.Mind`.

Owns the built-in responder, the command and the chat endpoint. Refuses to know speech.
"""
