"""The delivery engine every destination shares."""
