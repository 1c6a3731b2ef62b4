"""The containers: the host they run on, their images, their files, their life."""
