"""Numbers that outlive a worker: the runtime folder, its slots, mapped files, all as one."""
