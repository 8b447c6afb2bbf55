"""An account's coming and going: what is asked, made, and undone again."""
