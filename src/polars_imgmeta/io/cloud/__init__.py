"""Images in cloud storage, the only package that uses obstore; start at `client`."""
