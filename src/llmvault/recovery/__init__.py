"""The installation itself: copied into its repositories, and made again from one of them."""
