"""A Ray cluster of three nodes on this machine."""


def started_cluster(tries=3):
    """Returns a cluster and its workers; a node now and then does not come up in time.

    The head works nothing; the workers have one processor each.
    """
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        # A machine that refuses five checks is lost. By default they are three seconds apart.
        made.add_node(num_cpus=0, _system_config={"health_check_period_ms": 300})
        workers = [made.add_node(num_cpus=1) for _ in range(2)]
        made.wait_for_nodes()
    except Exception:
        made.shutdown()
        if tries == 1:
            raise
        return started_cluster(tries - 1)
    return made, workers
