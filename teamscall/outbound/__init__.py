"""Placing calls: whom, whether it may be, by which far side, and what became of it.

``target`` reads what an operator typed, ``gates`` decides, ``attempt`` is the life of one
call to be, ``dialling`` asks the far sides, ``placing`` runs it all. Refuses to know
terminals, JSON-RPC and what is said in a call.
"""
