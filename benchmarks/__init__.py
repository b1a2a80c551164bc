"""Speed and accuracy measurements that make the README's tables. Nothing else imports them.

    python -m benchmarks.sampler_overhead --config configs/vp_digits.py      # what a step costs beside the network
    python -m benchmarks.error_versus_nfe --workdir runs/demo                # accuracy for so many evaluations

Each says what it takes under --help, and writes down machine, versions and command beside its figures. The
samplers in `entries.py` are built by `samplers.configured.configure` from the fields of a config, so what is measured is
what a user runs. A new sampler is a line there.
"""
