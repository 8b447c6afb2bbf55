"""New mail: who somebody is, where it goes, and the server's rules that say the same."""
