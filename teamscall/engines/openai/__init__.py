"""OpenAI, and what speaks its API: hearing, thinking and speaking over the network.

Owns the sockets, requests and models of that API. Refuses to know calls and wires.
"""
