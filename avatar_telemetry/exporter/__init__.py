"""The exporter: rings that workers record into, and the process that reads and sends them."""
