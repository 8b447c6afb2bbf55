"""New mail and who waits: what is known of a sender, and where mail goes."""
