from .app import create_app as create_app
from .options import ServiceOptions as ServiceOptions
from .server import run_server as run_server
