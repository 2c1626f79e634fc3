"""What is asked, and of what: files, structures, queries and the records that stand for molecules."""
