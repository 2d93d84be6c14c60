from .data import Metric as Metric
from .data import ReportData as ReportData
from .page import render_report as render_report
from .search_page import render_search_page as render_search_page
from .search_page import write_search_page as write_search_page
