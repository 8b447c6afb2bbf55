"""One account: everything that it holds, and what people ask of it."""
