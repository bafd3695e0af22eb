"""What several test folders share: a running Headwater, a proxy with faults, waiting without sleeping blindly."""
