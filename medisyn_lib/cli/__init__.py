"""The `medisyn` command, one file a verb."""
