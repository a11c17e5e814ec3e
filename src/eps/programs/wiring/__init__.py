"""From settings to running servers: the one place that knows all parts.

servers    the EPS server and the service directory        proxies    the public and the private proxy
"""
