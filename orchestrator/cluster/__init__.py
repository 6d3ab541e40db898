"""How trials run: in this process, or through Ray Tune. Only here: ray."""
