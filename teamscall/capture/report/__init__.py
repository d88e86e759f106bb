"""Pictures of a call: a page, an SVG and a PNG, drawn from its capture.

``picture`` turns a capture into frozen data, ``page``, ``svg`` and ``png`` draw these. All
pure: the same capture gives the same bytes. What a peer said goes through ``printable`` on
its way into the data, and through an escaping writer on its way out.
"""
