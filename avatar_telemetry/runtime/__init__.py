"""The life of a process: master, worker, and everything that they assemble."""
