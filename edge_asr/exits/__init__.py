"""Exit rules: criteria say how sure an exit is, policies decide to stop or to go on."""
