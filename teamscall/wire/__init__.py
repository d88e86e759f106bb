"""What a gateway says and what it is told: both dialects, both directions.

Owns the events, the encoders and decoders, signatures, the replay guard and the caps.
Refuses to know sockets, asyncio, clocks (time is an argument), files, and logging.
"""
