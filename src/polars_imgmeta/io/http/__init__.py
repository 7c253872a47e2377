"""Images on web servers: the only place that knows http; its entrance is `client`."""
