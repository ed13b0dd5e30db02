"""Sweeps: one training for each combination of settings, as jobs on this machine or of SLURM.

`plan` makes the points from settings, `folder` keeps them in sweep.json and says how far each is, `jobs` submits those
that are missing, `supervisor` is what a job runs, and `results` collects what is complete. The run directories are the
truth: whatever happens to jobs, starting a sweep again submits what is missing.
"""
