"""The shell: listeners, endpoints, keepalive, drain and watchdog.

Owns sockets, HTTP and the clock's reading. Refuses to know any rule of a call: what a
message means is decided behind :class:`teamscall.calls.link.Exchange`.
"""
