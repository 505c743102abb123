"""What is protected: one driver per kind of source, behind small interfaces."""
