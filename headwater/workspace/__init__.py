"""The workspace: headwater.yaml as typed values."""
