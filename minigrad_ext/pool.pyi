"""The windows of both poolings, for compiled code alone; see pool.pyx."""
