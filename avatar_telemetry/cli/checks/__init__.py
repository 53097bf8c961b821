"""What the doctor looks at: one file for each place, and what it says are findings."""
