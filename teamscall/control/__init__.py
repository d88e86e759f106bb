"""The operator's door into a running bridge: JSON-RPC methods, the event stream, the client.

``protocol`` is the contract, ``methods`` answers, ``stream`` remembers and hands out what
goes on, ``client`` asks, ``where`` finds the socket, ``following`` and ``transcript`` make
sense of events, ``tool`` and ``mcp`` are the doors for agents. Refuses to know how a verb is
typed or printed.
"""
