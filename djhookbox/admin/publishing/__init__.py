"""The pages that publish messages by hand."""
