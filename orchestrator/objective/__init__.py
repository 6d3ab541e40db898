"""What an objective is and how it is found: the protocol, the bases most objectives extend, and the loader."""
