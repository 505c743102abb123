"""The cache of huggingface_hub: where it keeps repositories, and what is wrong with one."""
