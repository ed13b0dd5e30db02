from .atomic import WriteError as WriteError
from .lock import LockError as LockError
from .records import write_csv as write_csv
from .records import write_json as write_json
