"""The `kerasft` command."""
