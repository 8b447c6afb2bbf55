"""How an account is set up and undone: what is asked, created and removed."""
