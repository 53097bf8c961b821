"""The checks of the doctor, one module per area, which return findings."""
