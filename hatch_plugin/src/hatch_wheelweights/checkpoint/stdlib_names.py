"""The names of the modules of Python's standard library, 2.7 to 3.14, whatever Python runs.

Made of `sys.stdlib_module_names` of Python 3.10 to 3.14, and of the modules that Python 2.7 to 3.9 had besides. A test
compares them with the Python that runs it, so that a new one is not forgotten.
"""

from __future__ import annotations

from typing import Final

__all__ = ["OLD_OR_COMMON", "STANDARD_LIBRARY"]

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
