"""The speech and language vendors, behind small protocols.

Owns hearing, thinking and speaking, or one session that does all three.
Refuses to know calls (turn taking, limits, who may call) and wires.
"""
