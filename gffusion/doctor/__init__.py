"""What `gffusion doctor` examines: packages, devices, the cache of the Hub and folders. Nothing here changes anything."""
