"""What a client sent, as far as it is believed, and what of it may be told."""
