"""Tests of hires_nst.executors."""
