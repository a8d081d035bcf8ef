"""What docs/examples and the template of `pvc plugin new` promise to authors of plugins."""
