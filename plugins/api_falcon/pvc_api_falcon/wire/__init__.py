"""What goes out: the services' pictures as plain data of PVC's API v1, each with the key `status`, a sentence."""
