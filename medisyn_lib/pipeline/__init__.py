"""From a data source to trained generators and their images, each step cached in the store."""
