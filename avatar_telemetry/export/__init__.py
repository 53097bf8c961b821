"""What leaves by itself over OTLP: exporters, what bounds them, the leader and its pushes."""
