from .atomic import WriteError as WriteError
from .atomic import write_csv as write_csv
from .atomic import write_json as write_json
from .lock import LockError as LockError
