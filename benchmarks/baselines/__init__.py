"""What we are measured against: one file each."""
