"""Images on web servers, the only package that uses urllib3; start at `client`."""
