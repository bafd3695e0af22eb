"""Running stages: one in the foreground, or all three under a supervisor. Start and stop order are written only here."""
