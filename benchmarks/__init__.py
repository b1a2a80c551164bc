"""Speed and accuracy measurements that make the README's tables. Nothing else imports them.

    python -m benchmarks.sampler_overhead --config configs/vp_digits.py      # cost of a sampler step beyond the network
    python -m benchmarks.error_versus_nfe --workdir runs/demo                # accuracy against network evaluations

Each describes itself and its options under --help, and records machine, versions and command with its results. The
samplers of `samplers/entries.py` are built by `samplers.configured.configure` from the fields of a config, so what is measured is
what a user runs. To add a sampler, add a line there.
"""
