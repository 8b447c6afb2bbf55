"""The client for mail: searches and updates, mailboxes, pages of results."""
