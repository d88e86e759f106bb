"""PCM only: framing, resampling with state, reorder, pacing, level, voice activity, WAV.

Owns everything between a chunk of samples and a 20 ms frame that leaves on time. Refuses
to know where PCM comes from or goes to, asyncio, and clocks (``now`` is an argument).
"""
