"""Ears and a voice that need no key and no network.

Owns the worker processes that hold the models, what crosses their pipes, and the parts
that a cascade is made of. Refuses to know minds and calls. The models and the (GPL)
synthesis engine are imported inside the worker processes only.
"""
