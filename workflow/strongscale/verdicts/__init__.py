"""The paper's ten claims, judged by a study's own runs: statements, their evidence, and one of four outcomes.

To be used: claims (judge, verdicts); the arithmetic of evidence is inference's, the margins are settings'.
"""
