"""Code that runs an exported file in an app, written from the file's own contract."""
