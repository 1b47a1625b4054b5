"""How MPI and NCCL are told which algorithm adds up between ranks: by variables of the ranks' environment.

Open MPI's own rules lie in its component `tuned`, which listens to a number; `han`, which works by topology, goes before it
where ranks share hosts, unless its priority is lower. Other MPIs ignore all of this. NCCL has no halving and doubling.
"""

TUNED = {"recursive_doubling": 3, "ring": 4, "halving_doubling": 6}
"""Of Open MPI's `coll_tuned_allreduce_algorithm`."""
NCCL = {"ring": "Ring", "two_level": "Tree"}


def variables(name: str) -> dict[str, str]:
    """The variables that choose the algorithm `training.all_reduce`; none for `auto`."""
    chosen = {"NCCL_ALGO": NCCL[name]} if name in NCCL else {}
    if name == "two_level":
        chosen["OMPI_MCA_coll_han_priority"] = "100"
    if name in TUNED:
        chosen["OMPI_MCA_coll_han_priority"] = "0"
        chosen["OMPI_MCA_coll_tuned_use_dynamic_rules"] = "1"
        chosen["OMPI_MCA_coll_tuned_allreduce_algorithm"] = str(TUNED[name])
    return chosen
