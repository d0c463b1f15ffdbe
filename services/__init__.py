"""All decisions. Plain functions that take the `Runtime` first; callable without Flask or GraphQL."""
