"""What the commands do; imported when one runs, so that help and completion stay quick."""
