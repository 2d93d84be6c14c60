"""The report of a run: one HTML page that needs nothing else."""

from dml.report.data import Metric, ReportData
from dml.report.page import write_report

__all__ = ["Metric", "ReportData", "write_report"]
