"""What every room may use, and no concept of the library: checks of names, whole files, the folders that are shipped."""
