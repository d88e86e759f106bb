"""What goes on, counted for Prometheus: from the calls' records and the server's counters.

Owns names, labels and buckets. Refuses to know HTTP, and everything that is said.
"""
