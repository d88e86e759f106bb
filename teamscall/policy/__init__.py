"""May this call happen: modes, lists, and hooks with deadlines.

Everything fails closed: what is not granted is refused, and a decision that cannot be
made is a refusal. ``rules`` decides and is pure; ``hook`` asks the organisation's own
directory and can only take away what the rules granted; ``authorization`` puts both
behind one face. Refuses to know how a call sounds and how an answer travels.
"""
