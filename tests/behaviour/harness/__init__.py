"""What the behaviour tests stand on: a daemon under test, scripted backends, and a strict client."""
