"""The kernel's side: connection, following and ending."""
