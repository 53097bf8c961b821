"""What tests share: servers, sinks, clients, clocks and folders, one copy of each."""
