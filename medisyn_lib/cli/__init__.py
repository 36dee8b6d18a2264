"""The `medisyn` command, one file per verb."""
