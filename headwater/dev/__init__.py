"""What developers and tests run beside Headwater on one machine; nothing here is used in production."""
