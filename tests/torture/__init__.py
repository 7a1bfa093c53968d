"""`make torture`: kills, storms, full disks and lying clocks, against the real system."""
