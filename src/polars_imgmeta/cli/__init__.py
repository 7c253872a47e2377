"""The command `imgmeta`."""
