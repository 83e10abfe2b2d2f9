"""Wire protocols: messages to events and events to messages, sans-I/O."""
