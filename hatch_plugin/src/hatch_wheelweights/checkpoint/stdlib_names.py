"""The names of Python's standard library, 2.7 to 3.14, whatever Python runs.

The modules are made of `sys.stdlib_module_names` of Python 3.10 to 3.14, and of what Python 2.7 to 3.9 had besides. The
names of Python 2 are those of Lib/_compat_pickle.py: protocols below 3 write them. A test compares all of them with the
Python that runs it, so that a new one is not forgotten.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXCEPTIONS", "OLD_OR_COMMON", "PYTHON_3_MODULES", "PYTHON_3_NAMES", "STANDARD_LIBRARY"]

STANDARD_LIBRARY: Final = frozenset({
    "BaseHTTPServer", "Bastion", "CGIHTTPServer", "Carbon", "DocXMLRPCServer", "FileDialog", "FixTk",
    "HTMLParser", "MimeWriter", "ScrolledText", "SimpleDialog", "SimpleHTTPServer", "SimpleXMLRPCServer",
    "SocketServer", "StringIO", "Tix", "Tkconstants", "Tkdnd", "Tkinter", "UserDict", "UserList", "UserString",
    "_LWPCookieJar", "_MozillaCookieJar", "__builtin__", "__future__", "__hello__", "__phello__", "_abc",
    "_abcoll", "_aix_support", "_android_support", "_apple_support", "_ast", "_ast_unparse", "_asyncio",
    "_bisect", "_blake2", "_bootlocale", "_bootsubprocess", "_bsddb", "_builtin", "_bz2", "_codecs",
    "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_collections",
    "_collections_abc", "_colorize", "_compat_pickle", "_compression", "_contextvars", "_crypt", "_csv",
    "_ctypes", "_curses", "_curses_panel", "_datetime", "_dbm", "_decimal", "_dummy_thread", "_dummy_threading",
    "_elementtree", "_frozen_importlib", "_frozen_importlib_external", "_functools", "_gdbm", "_hashlib",
    "_heapq", "_hmac", "_hotshot", "_imp", "_interpchannels", "_interpqueues", "_interpreters", "_io",
    "_ios_support", "_json", "_locale", "_lsprof", "_lzma", "_markupbase", "_md5", "_msi", "_multibytecodec",
    "_multiprocessing", "_opcode", "_opcode_metadata", "_operator", "_osx_support", "_overlapped", "_pickle",
    "_posixshmem", "_posixsubprocess", "_py_abc", "_py_warnings", "_pydatetime", "_pydecimal", "_pyio",
    "_pylong", "_pyrepl", "_queue", "_random", "_remote_debugging", "_scproxy", "_sha1", "_sha2", "_sha256",
    "_sha3", "_sha512", "_signal", "_sitebuiltins", "_socket", "_sqlite", "_sqlite3", "_sre", "_ssl", "_stat",
    "_statistics", "_string", "_strptime", "_struct", "_suggestions", "_symtable", "_sysconfig", "_testcapi",
    "_thread", "_threading_local", "_tkinter", "_tokenize", "_tracemalloc", "_typing", "_uuid", "_warnings",
    "_weakref", "_weakrefset", "_winapi", "_winreg", "_wmi", "_xxinterpchannels", "_xxsubinterpreters",
    "_xxtestfuzz", "_zoneinfo", "_zstd", "abc", "aepack", "aetools", "aetypes", "aifc", "annotationlib",
    "antigravity", "anydbm", "applesingle", "argparse", "array", "ast", "asynchat", "asyncio", "asyncore",
    "atexit", "audiodev", "audioop", "autoGIL", "base64", "bdb", "binascii", "binhex", "bisect", "bsddb",
    "builtins", "bz2", "cPickle", "cProfile", "cStringIO", "calendar", "cfmfile", "cgi", "cgitb", "chunk",
    "cmath", "cmd", "code", "codecs", "codeop", "collections", "colorsys", "commands", "compileall",
    "compression", "concurrent", "configparser", "contextlib", "contextvars", "cookielib", "copy", "copy_reg",
    "copyreg", "crypt", "csv", "ctypes", "curses", "dataclasses", "datetime", "dbhash", "dbm", "decimal",
    "difflib", "dircache", "dis", "distutils", "dl", "doctest", "dumbdbm", "dummy_thread", "dummy_threading",
    "email", "encodings", "ensurepip", "enum", "errno", "exceptions", "faulthandler", "fcntl", "filecmp",
    "fileinput", "findertools", "fnmatch", "fpformat", "fractions", "ftplib", "functools", "gc", "gdbm",
    "genericpath", "getopt", "getpass", "gettext", "glob", "gopherlib", "graphlib", "grp", "gzip", "hashlib",
    "heapq", "hmac", "hotshot", "html", "htmlentitydefs", "htmllib", "http", "httplib", "idlelib", "ihooks",
    "imageop", "imaplib", "imghdr", "imp", "importlib", "imputil", "inspect", "io", "ipaddress", "itertools",
    "json", "keyword", "lib2to3", "linecache", "linuxaudiodev", "locale", "logging", "lzma", "macerrors",
    "macostools", "macpath", "macresource", "macurl2path", "mailbox", "mailcap", "markupbase", "marshal",
    "math", "mhlib", "mimetools", "mimetypes", "mimify", "mmap", "modulefinder", "msilib", "msvcrt",
    "multiprocessing", "netrc", "nis", "nntplib", "nt", "ntpath", "nturl2path", "numbers", "opcode", "operator",
    "optparse", "os", "os2emxpath", "ossaudiodev", "pathlib", "pdb", "pickle", "pickletools", "pipes",
    "pkgutil", "platform", "plistlib", "popen2", "poplib", "posix", "posixfile", "posixpath", "pprint",
    "profile", "pstats", "pty", "pwd", "py_compile", "pyclbr", "pydoc", "pydoc_data", "pyexpat", "queue",
    "quopri", "random", "re", "readline", "reprlib", "resource", "rexec", "rfc822", "rlcompleter",
    "robotparser", "runpy", "sched", "secrets", "select", "selectors", "sgmllib", "shelve", "shlex", "shutil",
    "signal", "site", "smtpd", "smtplib", "sndhdr", "socket", "socketserver", "spwd", "sqlite3", "sre_compile",
    "sre_constants", "sre_parse", "ssl", "stat", "statistics", "statvfs", "string", "stringprep", "struct",
    "subprocess", "sunau", "sunaudio", "sunaudiodev", "symtable", "sys", "sysconfig", "syslog", "tabnanny",
    "tarfile", "telnetlib", "tempfile", "templatelib", "termios", "textwrap", "this", "thread", "threading",
    "time", "timeit", "tkColorChooser", "tkCommonDialog", "tkFileDialog", "tkFont", "tkMessageBox",
    "tkSimpleDialog", "tkinter", "toaiff", "token", "tokenize", "tomllib", "trace", "traceback", "tracemalloc",
    "ttk", "tty", "turtle", "turtledemo", "types", "typing", "unicodedata", "unittest", "urllib", "urllib2",
    "urlparse", "uu", "uuid", "venv", "warnings", "wave", "weakref", "webbrowser", "whichdb", "winreg",
    "winsound", "wsgiref", "xdrlib", "xml", "xmllib", "xmlrpc", "xmlrpclib", "xxsubtype", "zipapp", "zipfile",
    "zipimport", "zlib", "zoneinfo",
})  # fmt: skip

# Modules that a Python of today has not, or that people write themselves: `parser.Config` is more likely theirs
OLD_OR_COMMON: Final = frozenset({
    "Canvas", "ConfigParser", "Cookie", "Dialog", "Queue", "al", "buildtools", "cd", "compiler", "fl", "flp",
    "fm", "formatter", "future_builtins", "gl", "ic", "jpeg", "md5", "multifile", "mutex", "new", "parser",
    "repr", "sets", "sha", "sre", "stringold", "strop", "sv", "symbol", "test", "timing", "user", "videoreader",
})  # fmt: skip

# Of `builtins`, with those that only Python 2 or Windows has
EXCEPTIONS: Final = frozenset({
    "ArithmeticError", "AssertionError", "AttributeError", "BaseException", "BaseExceptionGroup",
    "BlockingIOError", "BrokenPipeError", "BufferError", "BytesWarning", "ChildProcessError",
    "ConnectionAbortedError", "ConnectionError", "ConnectionRefusedError", "ConnectionResetError",
    "DeprecationWarning", "EOFError", "EncodingWarning", "EnvironmentError", "Exception", "ExceptionGroup",
    "FileExistsError", "FileNotFoundError", "FloatingPointError", "FutureWarning", "GeneratorExit", "IOError",
    "ImportError", "ImportWarning", "IndentationError", "IndexError", "InterruptedError", "IsADirectoryError",
    "KeyError", "KeyboardInterrupt", "LookupError", "MemoryError", "ModuleNotFoundError", "NameError",
    "NotADirectoryError", "NotImplementedError", "OSError", "OverflowError", "PendingDeprecationWarning",
    "PermissionError", "ProcessLookupError", "PythonFinalizationError", "RecursionError", "ReferenceError",
    "ResourceWarning", "RuntimeError", "RuntimeWarning", "StopAsyncIteration", "StopIteration", "SyntaxError",
    "SyntaxWarning", "SystemError", "SystemExit", "TabError", "TimeoutError", "TypeError", "UnboundLocalError",
    "UnicodeDecodeError", "UnicodeEncodeError", "UnicodeError", "UnicodeTranslateError", "UnicodeWarning",
    "UserWarning", "ValueError", "Warning", "WindowsError", "ZeroDivisionError",
})  # fmt: skip

# A module of Python 2 that Python 3 calls otherwise; not those in OLD_OR_COMMON, which are more likely somebody's own
PYTHON_3_MODULES: Final = {
    "BaseHTTPServer": "http.server", "CGIHTTPServer": "http.server", "DocXMLRPCServer": "xmlrpc.server",
    "FileDialog": "tkinter.filedialog", "HTMLParser": "html.parser", "ScrolledText": "tkinter.scrolledtext",
    "SimpleDialog": "tkinter.simpledialog", "SimpleHTTPServer": "http.server", "SimpleXMLRPCServer": "xmlrpc.server",
    "SocketServer": "socketserver", "StringIO": "io", "Tix": "tkinter.tix", "Tkconstants": "tkinter.constants",
    "Tkdnd": "tkinter.dnd", "Tkinter": "tkinter", "UserDict": "collections", "UserList": "collections",
    "UserString": "collections", "__builtin__": "builtins", "_abcoll": "collections.abc",
    "_elementtree": "xml.etree.ElementTree", "_winreg": "winreg", "anydbm": "dbm", "cPickle": "pickle",
    "cStringIO": "io", "commands": "subprocess", "cookielib": "http.cookiejar", "copy_reg": "copyreg",
    "dbhash": "dbm.bsd", "dbm": "dbm.ndbm", "dumbdbm": "dbm.dumb", "dummy_thread": "_dummy_thread",
    "exceptions": "builtins", "gdbm": "dbm.gnu", "htmlentitydefs": "html.entities", "httplib": "http.client",
    "markupbase": "_markupbase", "robotparser": "urllib.robotparser", "test.test_support": "test.support",
    "thread": "_thread", "tkColorChooser": "tkinter.colorchooser", "tkCommonDialog": "tkinter.commondialog",
    "tkFileDialog": "tkinter.filedialog", "tkFont": "tkinter.font", "tkMessageBox": "tkinter.messagebox",
    "tkSimpleDialog": "tkinter.simpledialog", "ttk": "tkinter.ttk", "urllib2": "urllib.request",
    "urlparse": "urllib.parse", "whichdb": "dbm", "xmlrpclib": "xmlrpc.client",
}  # fmt: skip

# What Python 3 has in another place than its module's
PYTHON_3_NAMES: Final = {
    ("UserDict", "IterableUserDict"): ("collections", "UserDict"),
    ("UserDict", "UserDict"): ("collections", "UserDict"),
    ("UserList", "UserList"): ("collections", "UserList"),
    ("UserString", "UserString"): ("collections", "UserString"),
    ("__builtin__", "basestring"): ("builtins", "str"),
    ("__builtin__", "intern"): ("sys", "intern"),
    ("__builtin__", "long"): ("builtins", "int"),
    ("__builtin__", "reduce"): ("functools", "reduce"),
    ("__builtin__", "unichr"): ("builtins", "chr"),
    ("__builtin__", "unicode"): ("builtins", "str"),
    ("__builtin__", "xrange"): ("builtins", "range"),
    ("_multiprocessing", "Connection"): ("multiprocessing.connection", "Connection"),
    ("_socket", "fromfd"): ("socket", "fromfd"),
    ("exceptions", "StandardError"): ("builtins", "Exception"),
    ("itertools", "ifilter"): ("builtins", "filter"),
    ("itertools", "ifilterfalse"): ("itertools", "filterfalse"),
    ("itertools", "imap"): ("builtins", "map"),
    ("itertools", "izip"): ("builtins", "zip"),
    ("itertools", "izip_longest"): ("itertools", "zip_longest"),
    ("multiprocessing", "AuthenticationError"): ("multiprocessing.context", "AuthenticationError"),
    ("multiprocessing", "BufferTooShort"): ("multiprocessing.context", "BufferTooShort"),
    ("multiprocessing", "ProcessError"): ("multiprocessing.context", "ProcessError"),
    ("multiprocessing", "TimeoutError"): ("multiprocessing.context", "TimeoutError"),
    ("multiprocessing.forking", "Popen"): ("multiprocessing.popen_fork", "Popen"),
    ("multiprocessing.process", "Process"): ("multiprocessing.context", "Process"),
    ("socket", "_socketobject"): ("socket", "SocketType"),
    ("urllib", "ContentTooShortError"): ("urllib.error", "ContentTooShortError"),
    ("urllib", "getproxies"): ("urllib.request", "getproxies"),
    ("urllib", "pathname2url"): ("urllib.request", "pathname2url"),
    ("urllib", "quote"): ("urllib.parse", "quote"),
    ("urllib", "quote_plus"): ("urllib.parse", "quote_plus"),
    ("urllib", "unquote"): ("urllib.parse", "unquote"),
    ("urllib", "unquote_plus"): ("urllib.parse", "unquote_plus"),
    ("urllib", "url2pathname"): ("urllib.request", "url2pathname"),
    ("urllib", "urlcleanup"): ("urllib.request", "urlcleanup"),
    ("urllib", "urlencode"): ("urllib.parse", "urlencode"),
    ("urllib", "urlopen"): ("urllib.request", "urlopen"),
    ("urllib", "urlretrieve"): ("urllib.request", "urlretrieve"),
    ("urllib2", "HTTPError"): ("urllib.error", "HTTPError"),
    ("urllib2", "URLError"): ("urllib.error", "URLError"),
    ("whichdb", "whichdb"): ("dbm", "whichdb"),
}
