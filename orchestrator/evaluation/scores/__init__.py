"""How far a score can be trusted: intervals, noise between seeds, the choice of the winner, the learning curve."""
