"""The claims: rules, measures, controls, verdicts, result files and the scorecard."""
