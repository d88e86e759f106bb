"""The other side: plays a gateway (StandIn's service or a C# media gateway) against any
bridge, ours or somebody else's.

Owns what a far side says and when, what its human would have heard, and the measurement
of both. Refuses to know calls, engines and the server: only ``wire`` and ``audio`` are
shared, so a mistake in the bridge cannot hide in its own mirror.

``plan`` says what to play, ``dial`` opens the socket, ``far_side`` decides (pure),
``call`` runs it, ``report`` is what came of it. The side that is called: ``answering`` says
what to do, ``called`` takes the calls (through ``door`` and ``control_endpoint``, or on a
gateway's socket), ``leg`` rings (pure) until ``far_side`` talks.
"""
