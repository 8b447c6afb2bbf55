"""What the sandbox claims to share with a real Cyrus, said once and asked of both."""
