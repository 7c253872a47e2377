"""Images in cloud storage: the only place that knows obstore; its entrance is `client`."""
