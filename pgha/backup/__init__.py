"""The repository: stanza, backups, what can be restored, restore, clones, verification."""
