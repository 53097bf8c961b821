"""The deliberate faults of :mod:`tests.support.mutants`: one realistic mistake each."""

# ruff: noqa: E501 - lines of the package with their indentation

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A mistake in one module.

    Args:
        name: unique.
        module: its path inside the package.
        breaks: the behaviour that is lost, in one line.
        old: text of the module, which stands there exactly once.
        new: text in its place.
        also: test files of other modules that hold this behaviour, as ``folder/module``.
    """

    name: str
    module: str
    breaks: str
    old: str
    new: str
    also: tuple[str, ...] = ()


STORE = (
    Fault(
        "meters-provider-replaced", "metrics/api_meters.py", "the application's meters are replaced",
        "        if is_free:\n", "        if True:\n",
    ),
    Fault(
        "meters-kinds-share", "metrics/api_meters.py", "a counter and a gauge share a name",
        "if metric.prefix != kind.prefix:", "if False:",
    ),
    Fault(
        "meters-types-equal", "metrics/api_instruments.py", "the attributes 1 and True are one series",
        "key = (tuple(attributes.items()), tuple(map(type, attributes.values())))",
        "key = (tuple(attributes.items()), (str,))", ("metrics/api_meters",),
    ),
    Fault(
        "meters-total-twice", "metrics/api_instruments.py",
        "an observed total counts again where another process goes on",
        "growth = max(0.0, amount - self._stored.get(series.labels, 0.0))", "growth = amount",
        ("metrics/api_observers",),
    ),
    Fault(
        "meters-gone-stay", "metrics/api_instruments.py",
        "an attribute set that is reported no longer keeps its value",
        "                series.values[0].set(self.missing_value, time.time())\n", "                pass\n",
        ("metrics/api_observers",),
    ),
    Fault(
        "meters-limit-per-life", "metrics/api_series.py",
        "each new holder of a slot adds as many attribute sets again",
        "self._count = self._book.count(self.prefix, start)", "self._count = 0",
        ("metrics/api_meters",),
    ),
    Fault(
        "meters-two-observers", "metrics/api_observers.py",
        "an observer goes on whose lock was removed",
        "if self._lock is not None and is_at_path(self._lock, path):",
        "if self._lock is not None:",
    ),
    Fault(
        "meters-unit-twice", "metrics/api_names.py", "a name has its unit twice",
        "        if suffix not in", "        if True or suffix not in",
    ),
    Fault(
        "exemplars-torn", "metrics/exemplars.py", "a trace of two requests is shown after a kill",
        "    return record if crc32(record[8:]) == checksum else None\n", "    return record\n",
    ),
    Fault(
        "exemplars-oldest", "metrics/merged_exemplars.py", "an old trace stands over a newer one",
        "if key in newest and time <= newest[key][0]:", "if key in newest and time >= newest[key][0]:",
    ),
    Fault(
        "exemplars-unbounded", "metrics/mapped.py", "exemplars fill the shared memory",
        "        if end > self._max_size:\n", "        if False:\n", ("metrics/merged_exemplars",),
    ),
    Fault(
        "exemplars-too-long", "metrics/family.py", "a scrape fails for an exemplar with long labels",
        "    if is_too_long:\n", "    if False:\n", ("metrics/exemplars", "metrics/merged_exemplars"),
    ),
    Fault(
        "exemplars-first-byte", "metrics/metrics.py", "the exemplar of a first byte has the value of the duration",
        "        record = pack_trace(trace_id, span_id, first_byte, time)\n",
        "        record = pack_trace(trace_id, span_id, duration, time)\n",
        ("metrics/merged_exemplars",),
    ),
    Fault(
        "exemplars-old-format", "metrics/exposition.py", "a scraper of the format 0.0.4 fails",
        "        if openmetrics:\n            for number", "        if True:\n            for number",
    ),
    Fault(
        "exemplars-dropped", "wsgi/request_spans.py", "a trace is named that was dropped",
        "            written = writer.target.put(SPANS, items, head + scope + encoded)\n",
        "            written = writer.target.put(SPANS, items, head + scope + encoded) or True\n",
        ("wsgi/exemplars",),
    ),
    Fault(
        "exemplars-interval", "exporter/bridge.py", "increments have exemplars of earlier ones",
        "if start <= each.time_unix_nano <= now]", "if each.time_unix_nano <= now]",
    ),
    Fault(
        "mapped-length-first", "metrics/mapped.py", "a kill during an append corrupts the file",
        """        self._bytes[self._used : end] = entry
        # The entry is stored before the length includes it: a kill in between loses nothing.
        self._bytes[0:4] = _length.pack(end)
""",
        """        self._bytes[0:4] = _length.pack(end)
        self._bytes[self._used : end] = entry
""",
    ),
    Fault(
        "mapped-refused-stays-open", "metrics/mapped.py", "a refused file costs a descriptor",
        "        except BaseException:\n            os.close(self._descriptor)\n            raise\n",
        "        except BaseException:\n            raise\n",
    ),
    Fault(
        "mapped-grows-early", "metrics/mapped.py", "a file that is exactly full is doubled",
        "while end > size:", "while end >= size:",
    ),
    Fault(
        "files-sparse", "_base/files.py", "a store on a full file system kills the process",
        "os.posix_fallocate(descriptor, 0, size)", "os.ftruncate(descriptor, size)",
        ("metrics/mapped",),
    ),
    Fault(
        "mapped-early-values-replace", "metrics/mapped.py",
        "values made before the fork replace those of the last holder",
        "                doubles[index] += value\n", "                doubles[index] = value\n",
    ),
    Fault(
        "mapped-inc-without-lock", "metrics/mapped.py", "two threads lose counts of the application",
        """        with self._book.lock:
            self._doubles[self._index] += amount
""",
        """        if self._book.lock:
            self._doubles[self._index] += amount
""",
    ),
    Fault(
        "mapped-files-left-open", "metrics/mapped.py", "a book that moves keeps its descriptors",
        """        for file in self._open_files():
            file.close()
        self._files.clear()
""",
        "        self._files.clear()\n",
    ),
    Fault(
        "mapped-corrupt-deleted", "metrics/mapped.py", "a damaged file is not kept for inspection",
        'path.replace(path.with_suffix(".db.corrupt"))', "path.unlink()",
    ),
    Fault(
        "mapped-failure-recursion", "metrics/mapped.py", "a failure of the store reports itself",
        "if not self._failing:", "if True:",
    ),
    Fault(
        "mapped-series-not-reset", "metrics/mapped.py", "series are counted again at each open",
        "        self.short = False\n        self.series = 0\n\n", "        self.short = False\n\n",
    ),
    Fault(
        "folder-stranger-removed", "metrics/folder.py", "root removes the folder of any user",
        "            if path.lstat().st_uid in (os.geteuid(), uid):\n                _remove_if_dead",
        "            if path.lstat().st_uid is not None:\n                _remove_if_dead",
    ),
    Fault(
        "folder-stranger-joined", "metrics/folder.py", "an upgrade joins the folder of any user",
        "            if path.lstat().st_uid not in (os.geteuid(), uid):\n                continue\n", "",
    ),
    Fault(
        "folder-since-anew", "metrics/folder.py", "an upgrade in place begins to count anew",
        "since, key = _recorded(lock, since, key)", "_, key = _recorded(lock, since, key)",
    ),
    Fault(
        "folder-key-anew", "metrics/folder.py", "an upgrade in place changes all hashes",
        "since, key = _recorded(lock, since, key)", "since, _ = _recorded(lock, since, key)",
    ),
    Fault(
        "folder-unlocked", "metrics/folder.py", "a second server takes a named folder in use",
        "fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)\n        if is_at_path",
        "fcntl.flock(lock, fcntl.LOCK_UN)\n        if is_at_path",
    ),
    Fault(
        "folder-refused-stays-open", "metrics/folder.py", "a refused folder costs a descriptor",
        "    except BaseException:\n        os.close(lock)\n        raise\n",
        "    except BaseException:\n        raise\n",
    ),
    Fault(
        "folder-starting-removed", "metrics/folder.py",
        "a folder whose master has not written its record yet is removed",
        "if masters and not alive and", "if not alive and",
    ),
    Fault(
        "files-public", "_base/files.py", "other users can look into a named folder",
        "os.mkdir(path.name, 0o700, dir_fd=parent)", "os.mkdir(path.name, dir_fd=parent)",
        ("metrics/folder",),
    ),
    Fault(
        "folder-removed-by-first", "metrics/folder.py",
        "the first server to leave removes the files of the other",
        "            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            with suppress(BlockingIOError):\n                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
    ),
    Fault(
        "slots-living-cleared", "metrics/slots.py", "gauges of a living worker are removed",
        "lock = lock_own(_lock_path(folder, holder.slot), os.O_RDWR)",
        "lock = open_own(_lock_path(folder, holder.slot), os.O_RDWR)",
    ),
    Fault(
        "slots-from-one", "metrics/slots.py", "slot 0 is never used",
        "for number in range(MAX_SLOTS)", "for number in range(1, MAX_SLOTS)",
    ),
    Fault(
        "slots-holder-unwritten", "metrics/slots.py", "nobody knows who holds a slot",
        "        _write_holder(lock, worker)\n        return", "        return",
    ),
    Fault(
        "files-tried-stays-open", "_base/files.py", "each slot of another worker costs a descriptor",
        "        except OSError as error:\n            os.close(descriptor)\n",
        "        except OSError as error:\n", ("metrics/slots",),
    ),
    Fault(
        "slots-no-retry", "metrics/slots.py", "a slot that is just being freed is left out for ever",
        "if holder is None or is_alive(holder.pid, holder.started):", "if True:",
    ),
    Fault(
        "merged-oldest", "metrics/group.py", "the oldest value of a mostrecent gauge is shown",
        "max(row)[1]", "min(row)[1]", ("metrics/merged",),
    ),
    Fault(
        "merged-dead-gauges", "metrics/merged.py", "requests in progress of dead workers are shown",
        "elif match[2] in alive or not match[1].startswith(LIVE):", "else:",
    ),
    Fault(
        "merged-replaced-file", "metrics/group.py", "the keys of a replaced file are used on the new",
        "(file.identity != contents.identity or used < file.used)", "used < file.used",
        ("metrics/merged",),
    ),
    Fault(
        "merged-absent-minimum", "metrics/group.py", "a series that one file lacks has the minimum 0",
        '"min": float("inf")', '"min": 0.0', ("metrics/merged",),
    ),
    Fault(
        "merged-first-bucket-count", "metrics/layout.py", "a histogram has the count of one bucket",
        "lines += (buckets[-1], values[stop])", "lines += (buckets[0], values[stop])",
        ("metrics/merged",),
    ),
    Fault(
        "merged-help-replaces", "metrics/metric_file.py",
        "a changed help text loses what was counted",
        "            if not column[number]:\n                break\n", "            break\n",
        ("metrics/merged",),
    ),
    Fault(
        "metrics-ceiling", "metrics/metrics.py", "one series more than the ceiling is made",
        "or excess < 0 or", "or excess <= 0 or",
    ),
    Fault(
        "metrics-first-byte-bucket", "metrics/metrics.py", "first bytes are in the duration's bucket",
        "                bucket = bisect_left(DURATION_BUCKETS, first_byte)\n",
        "                bucket = bisect_left(DURATION_BUCKETS, duration)\n",
    ),
    Fault(
        "metrics-plans-unbounded", "metrics/metrics.py", "clients fill the memory with plans",
        "if len(self._plans) >= MAX_PLANS:", "if len(self._plans) < 0:",
    ),
    Fault(
        "metrics-bucket-boundary", "metrics/metrics.py", "a value at a bound is in the next bucket",
        "self.add(bisect_left(self.bounds, value), value)",
        "self.add(sum(bound <= value for bound in self.bounds), value)",
    ),
    Fault(
        "labels-root-dot", "http/labels.py", "a host with the dot of the root is another service",
        'host.lower().removesuffix(".")', "host.lower()",
    ),
    Fault(
        "labels-long-suffix", "http/labels.py", "a suffix of five letters is none",
        "0 < len(suffix) <= MAX_SUFFIX_LENGTH", "0 < len(suffix) < MAX_SUFFIX_LENGTH",
    ),
    Fault(
        "files-link-followed", "_base/files.py", "a planted link leads to a file of root's",
        "os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_CLOEXEC | os.O_NONBLOCK",
    ),
    Fault(
        "files-refused-stays-open", "_base/files.py", "a planted pipe costs a descriptor",
        "        os.close(descriptor)\n        raise OSError", "        raise OSError",
    ),
    Fault(
        "family-newline", "metrics/family.py", "a newline in a label breaks the page",
        '.replace("\\n", "\\\\n")', "",
    ),
    Fault(
        "folder-renewed-unlocked", "metrics/folder.py", "another server takes a folder made anew",
        "            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)\n            record, found",
        "            record, found",
    ),
    Fault(
        "folder-renewed-record", "metrics/folder.py", "an upgrade does not find a folder made anew",
        "            os.pwrite(lock, record, 0)\n            os.dup2", "            os.dup2",
    ),
    Fault(
        "folder-renewed-stranger", "metrics/folder.py", "the folder of a newer server is taken back",
        'if found not in (b"", record):', "if found is None:",
    ),
    Fault(
        "folder-made-by-stranger", "metrics/folder.py", "a folder that another user made anew is used",
        " or status.st_uid not in (self.owner, os.geteuid()):", ":", ("store/folder_safety",),
    ),
    Fault(
        "folder-made-open", "metrics/folder.py", "a folder made anew is used though others may write",
        "if _is_open(status) or status.st_uid not in (self", "if status.st_uid not in (self",
        ("store/folder_safety",),
    ),
    Fault(
        "folder-lock-inherited", "metrics/folder.py", "a program of the application keeps the folder",
        "inheritable=False", "inheritable=True",
    ),
    Fault(
        "folder-young-changed", "metrics/folder.py", "the last push seems to be a moment ago",
        "ns=(now, changed)", "ns=(now, now)",
    ),
    Fault(
        "folder-namespace", "metrics/folder.py", "a server of another container loses its folder",
        "bool(namespace) and namespace == _pid_namespace()", "bool(namespace)",
        ("store/folder_safety",),
    ),
    Fault(
        "folder-lock-replaced", "metrics/folder.py", "two servers hold locks of one path",
        "if is_at_path(lock, path / LOCK_NAME) and masters[-1] in", "if masters[-1] in",
    ),
    Fault(
        "folder-group-writes", "metrics/folder.py", "a folder that others may write into is taken",
        "stat.S_IWGRP | stat.S_IWOTH", "stat.S_IWOTH", ("store/folder_safety",),
    ),
    Fault(
        "folder-users-files", "metrics/folder.py", "files of the operator in a named folder are removed",
        "if OUR_FILES.fullmatch(name) and", "if OUR_FILES.match(name) and",
    ),
    Fault(
        "files-second-name", "_base/files.py", "a planted hard link leads to a file of root's",
        " or status.st_nlink > 1", "", ("store/folder_safety",),
    ),
    Fault(
        "files-strangers-link", "_base/files.py", "root follows a link that another user has put",
        " and (os.geteuid() != 0 or status.st_uid == 0)", "", ("store/folder_safety",),
    ),
    Fault(
        "files-lock-removed", "_base/files.py", "a lock on a file that was removed counts",
        "        if is_at_path(descriptor, path):\n            return descriptor\n",
        "        if descriptor:\n            return descriptor\n",
        ("store/locks", "metrics/slots"),
    ),
    Fault(
        "files-roots", "_base/files.py", "a worker cannot write what the master has made",
        "os.fchown(descriptor, owner.st_uid, owner.st_gid)", "pass", ("metrics/mapped",),
    ),
    Fault(
        "mapped-moved-twice", "metrics/mapped.py", "counts double when one file is removed",
        "if not file.is_at_path()", "if True", ("store/moving",),
    ),
    Fault(
        "mapped-recover-loses", "metrics/mapped.py", "counts made without space are lost",
        "                self._memory = before\n                return False\n",
        "                return False\n", ("store/moving",),
    ),
    Fault(
        "mapped-recover-stamp", "metrics/mapped.py", "a mostrecent gauge that moves is the oldest",
        "                doubles[index + 1] = stamp\n", "                pass\n", ("store/moving",),
    ),
    Fault(
        "mapped-moved-gauge", "metrics/mapped.py", "a gauge that moves is added to itself",
        '            if not prefix.startswith("gauge"):\n', "            if True:\n",
        ("store/moving",),
    ),
    Fault(
        "mapped-made-gauge", "metrics/mapped.py", "a gauge that is made at import loses its value",
        "            elif value or stamp:", "            else:",
    ),
    Fault(
        "mapped-unopened-unknown", "metrics/mapped.py", "a series of the slot is folded after a restart",
        "        file = self._file(prefix)\n        return (file", "        file = self._files.get(prefix)\n        return (file",
        ("store/ceiling",),
    ),
    Fault(
        "page-endless", "exporter/page.py", "something in the exporter's place fills the memory",
        "        if limit < 0:\n", "        if False:\n",
    ),
    Fault(
        "service-port-open", "exporter/service.py", "the port of before a reload is still in use",
        "            self._port.join(MAX_PORT_WAIT)\n", "            pass\n",
    ),
    Fault(
        "launch-thread-lock", "exporter/launch.py", "a lack of threads leaves no exporter for ever",
        "            exporter.close()\n            raise\n", "            return hosted\n",
    ),
    Fault(
        "port-forked", "exporter/port.py", "a forked child keeps the port in use",
        "            self._server.socket.close()\n", "            pass\n",
    ),
    Fault(
        "startup-interpreter", "runtime/startup.py", "nothing says that an exporter cannot be replaced",
        "    LOGGER.warning(UNUSABLE_INTERPRETER, os.geteuid(), executable)\n", "    return\n",
    ),
    Fault(
        "mapped-bounds-kept", "metrics/mapped.py", "values of other bounds fall into new buckets",
        "                    _reset_other_bounds(file, key, self._opened_at)\n",
        "                    pass\n", ("metrics/declarations",),
    ),
    Fault(
        "mapped-lock-after-fork", "metrics/mapped.py", "a forked child waits for a dead thread's lock",
        "        self.lock = RLock()\n\n    def on_next_use", "        pass\n\n    def on_next_use",
    ),
    Fault(
        "slots-data-stays-open", "metrics/slots.py", "a slot with no lock file costs a descriptor",
        "            os.close(lock)\n            return None\n        _write", "            return None\n        _write",
        ("store/locks",),
    ),
    Fault(
        "slots-again-stays-open", "metrics/slots.py", "each lock made anew costs a descriptor",
        "    _write_holder(lock, worker)\n    os.close(slot.lock)\n",
        "    _write_holder(lock, worker)\n", ("store/locks",),
    ),
    Fault(
        "slots-led-kept", "metrics/slots.py", "a search for the exporter keeps the next one from starting",
        "    if lock is not None:\n        os.close(lock)\n    return lock is None",
        "    return lock is None",
    ),
    Fault(
        "merged-old-type", "metrics/merged.py", "series of an old type are added to the new ones",
        "metric.superseded = metric is not newest", "metric.superseded = False",
        ("metrics/declarations",),
    ),
    Fault(
        "merged-other-bounds", "metrics/declarations.py", "histograms of other bounds are added",
        "if INFINITE in own and not own >= bounds", "if False",
        ("metrics/declarations",),
    ),
    Fault(
        "merged-unfinished", "metrics/declarations.py",
        "a histogram that is being declared is a conflict",
        "any(shape != bounds for shape in shapes if INFINITE in shape)",
        "any(shape != bounds for shape in shapes)",
        ("metrics/declarations",),
    ),
    Fault(
        "merged-redeclared", "metrics/declarations.py",
        "bounds that are being declared anew stand alone",
        "ends = [each.bounds[INFINITE] for each in declarations if INFINITE in each.bounds]",
        "ends = [max(each.bounds.values()) for each in declarations if each.bounds]",
    ),
    Fault(
        "merged-late-declaration", "metrics/group.py", "a reload's declaration is never the newest",
        "if file.revision != contents.revision or", "if",
        ("metrics/declarations",),
    ),
    Fault(
        "mapped-revision", "metrics/mapped.py", "a reader cannot see that a series is declared again",
        "(before + 1) % REVISIONS", "0", ("metrics/declarations",),
    ),
    Fault(
        "merged-new-series", "metrics/declarations.py", "a new series is not on the page",
        "        if not series.entries:\n            self._layout = None\n        series.entries += 1",
        "        series.entries += 1", ("metrics/group",),
    ),
    Fault(
        "merged-vanished-series", "metrics/declarations.py", "a series outlives its files",
        "            if not series.entries:\n                self._layout = None\n        return True",
        "        return True", ("metrics/group",),
    ),
    Fault(
        "merged-old-help", "metrics/declarations.py", "a changed help text is never shown",
        "self.excluded or len(self._documentations) > 1", "self.excluded", ("metrics/group",),
    ),
    Fault(
        "merged-short-column", "metrics/group.py", "a file without a new series adds to it",
        "repeat(self._absent, self._size - len(values))", "repeat(1.0, self._size - len(values))",
    ),
    Fault(
        "merged-gone-gauge", "metrics/group.py", "gauges that are just cleared count as unreadable",
        "            except FileNotFoundError:\n",
        "            except FileNotFoundError:\n                self.unreadable += 1\n",
        ("metrics/merged",),
    ),
    Fault(
        "merged-damaged-key", "metrics/group.py", "one damaged key hides the rest of its file",
        "                file.damaged = True\n", "                raise\n", ("metrics/merged",),
    ),
    Fault(
        "merged-foreign-file", "metrics/merged.py", "a file of another name is read as a counter",
        "if match is None or match[1] not in MODES:", "if match is None:",
    ),
    Fault(
        "merged-one-identifier", "metrics/group.py", "gauges of all processes become one",
        'of_process = self._mode == "all"', "of_process = False", ("metrics/merged",),
    ),
    Fault(
        "metrics-old-plan", "metrics/metrics.py", "a request that ends after a move is lost",
        "            if plan.files is not self._files:\n                plan = self.plan(plan.labels)\n", "",
        ("store/moving",),
    ),
    Fault(
        "metrics-shared-unlocked", "metrics/metrics.py", "counts by hand of other threads are lost",
        "if alone and not plan.shared else", "if alone else", ("wsgi/request",),
    ),
    Fault(
        "metrics-unlocked", "metrics/metrics.py", "threads that serve requests lose counts",
        "if alone and not plan.shared else", "if not plan.shared else", ("wsgi/request",),
    ),
    Fault(
        "outcome-unbounded", "wsgi/outcome.py", "clients fill the memory with outcomes",
        "if len(self.known) >= MAX_OUTCOMES:", "if len(self.known) < 0:",
    ),
    Fault(
        "metrics-failure-folded", "metrics/metrics.py", "failures beyond the ceiling are not seen",
        " or _is_failure(instrument, labels)", "", ("store/ceiling",),
    ),
    Fault(
        "metrics-known-folded", "metrics/metrics.py", "a known series stops at the ceiling",
        "        if self._book.knows(instrument.prefix, _key(instrument, suffix, labels)):\n            return labels\n",
        "", ("store/ceiling",),
    ),
    Fault(
        "metrics-folded-at-once", "metrics/metrics.py", "all labels are folded at the ceiling",
        "folds[:-1] if excess < self._max_series // 4 else folds", "folds", ("store/ceiling",),
    ),
    Fault(
        "metrics-refused-uncounted", "metrics/metrics.py", "nobody sees that series were folded",
        "        if folded != labels:\n            self.count(SERIES_REFUSED, instrument.name)\n", "",
        ("store/ceiling",),
    ),
    Fault(
        "metrics-switch-duration", "metrics/metrics.py", "a WebSocket of an hour is a slow response",
        "is_response = status != SWITCHED", "is_response = True", ("wsgi/switch",),
    ),
    Fault(
        "metrics-tends-always", "metrics/metrics.py", "each request looks at the files",
        "            self._check_at = now + CHECK_INTERVAL\n", "",
    ),
    Fault(
        "labels-subdomain", "http/labels.py", "a host with the same end is a service",
        'name = name.partition(".")[2]', "name = name[1:]",
    ),
    Fault(
        "labels-known-host-long", "http/labels.py", "a host of any length is searched",
        '    if len(host) > MAX_HOST_LENGTH:\n        return ""\n', "",
    ),
    Fault(
        "labels-method-case", "http/labels.py", "a method in lower case is another one",
        "KNOWN_METHODS.get(name, OTHER)", "KNOWN_METHODS.get(name.upper(), OTHER)",
    ),
)  # fmt: skip

WSGI = (
    Fault(
        "body-dropped-list", "wsgi/body.py", "a list body that is dropped is not counted",
        "    def __del__(self) -> None:\n        self._request.finish()\n",
        "    def __del__(self) -> None:\n        pass\n",
    ),
    Fault(
        "body-close-after-end", "wsgi/body.py", "a close() that fails after the end shows a 500",
        "            if not request.finished:\n                request.failed(error)\n",
        "            request.failed(error)\n",
    ),
    Fault(
        "body-left-current", "wsgi/body.py", "the next request of a thread sees the one before",
        " as error:\n            request.failed(error)\n            raise\n        finally:\n            request.leave(entered)\n",
        " as error:\n            request.failed(error)\n            raise\n        finally:\n            pass\n",
    ),
    Fault(
        "middleware-stale", "wsgi/middleware.py", "a forked child records into its parent's files",
        "if layer is None or layer.stale:", "if layer is None:",
    ),
    Fault(
        "middleware-page-post", "wsgi/middleware.py", "a POST to the metrics path is not passed on",
        'in ("GET", "HEAD") and', 'in ("GET", "HEAD", "POST") and',
    ),
    Fault(
        "middleware-open-page", "wsgi/middleware.py", "anybody reads the metrics",
        " and self._access.permits(environ)", "",
    ),
    Fault(
        "middleware-left-current", "wsgi/middleware.py", "the next request of a thread sees this one",
        "            CURRENT.reset(token)\n", "            pass\n",
    ),
    Fault(
        "head-announced-stays", "wsgi/request.py", "an error page has the size of the first answer",
        "self.status, self.content_type, self.location, self.length = observe_head(",
        "self.status, self.content_type, self.location, _ = observe_head(",
    ),
    Fault(
        "head-names-unbounded", "wsgi/head.py", "an application fills the memory with header names",
        "if len(_MEANINGS) < MAX_NAMES:", "if len(_MEANINGS) >= 0:",
    ),
    Fault(
        "outcome-long-query", "wsgi/outcome.py", "clients fill the memory with queries",
        "if len(request.query) <= MAX_QUERY_LENGTH:", "if request:",
    ),
    Fault(
        "outcome-answer-of-another", "wsgi/telemetry.py", "two applications share size labels",
        "        object.__setattr__(self, \"outcomes\", Outcomes(self.metrics))",
        "        if not hasattr(self.metrics, 'shared'):\n            self.metrics.shared = Outcomes(self.metrics)\n        object.__setattr__(self, 'outcomes', self.metrics.shared)",
        ("wsgi/request",),
    ),
    Fault(
        "outcome-first-file-only", "wsgi/outcome.py", "only one file of an upload is measured",
        "for content_type, size in files:", "for content_type, size in files[:1]:",
    ),
    Fault(
        "outcome-rule-status", "wsgi/outcome.py", "an upload answered with no status is not counted",
        "labels.status(request.status) != labels.OTHER", "request.status",
    ),
    Fault(
        "request-error-kept", "wsgi/request.py", "the frames of failed requests stay in memory",
        "        self.error = None  # its traceback refers to frames that refer to this request\n", "",
        ("wsgi/middleware",),
    ),
    Fault(
        "request-not-abandoned", "wsgi/request.py", "a request that cannot be counted is in progress",
        "            telemetry.metrics.abandoned()\n", "            pass\n",
    ),
    Fault(
        "request-client-gone", "wsgi/request.py", "a client that goes away is an error of ours",
        "if error is not self._send_error:", "if error is not None:", ("wsgi/conformance",),
    ),
    Fault(
        "request-last-lookup", "wsgi/request.py", "the last look-up decides about hit and miss",
        "if self.route.cached and not self.cache and cache in", "if self.route.cached and cache in",
    ),
    Fault(
        "request-counted-late", "wsgi/request.py", "a kill after the last byte loses the request",
        "            if self.unsent <= 0:\n                self.finish()\n",
        "            if self.unsent < 0:\n                self.finish()\n",
        ("wsgi/conformance",),
    ),
    Fault(
        "request-last-error", "wsgi/request.py", "a consequence stands for the cause of an error",
        "        if self.error is None:\n            self.error = error\n",
        "        self.error = error\n",
    ),
    Fault(
        "upload-files-unbounded", "wsgi/upload.py", "clients fill the memory with files of a form",
        "MAX_FILES = 100", "MAX_FILES = 10_000",
    ),
    Fault(
        "memo-unbounded", "_base/memo.py", "clients fill the memory with paths",
        "if len(self) >= self._size:", "if len(self) < 0:", ("_base/memo",),
    ),
    Fault(
        "memo-all-forgotten", "_base/memo.py", "a full memo forgets what every request asks for",
        "            self._older = dict(self)\n", "            self._older = {}\n", ("_base/memo",),
    ),
    Fault(
        "spans-agent-kept", "wsgi/request_spans.py", "long user agents fill the memory",
        "len(key) <= MAX_AGENT_LENGTH", "len(key) >= 0", ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-change-lost", "tracing/span.py", "what the application sets on a span is lost",
        "            self.joinable = False\n            return False\n", "            return False\n",
        ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-late-server", "tracing/span.py", "a span that starts after its request is lost",
        "        if self._is_joined:\n", "        if False:\n", ("tracing/writer",),
    ),
    Fault(
        "spans-server-of-child", "tracing/span.py", "a forked child writes no spans of the request",
        "server.open(self._process)", "server.open(tracer.sink.process)", ("tracing/writer",),
    ),
    Fault(
        "spans-error-joined", "wsgi/request_spans.py", "a failed request has no exception",
        "            or request.error is not None\n", "", ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-parent-joined", "tracing/provider.py", "a trace of a trusted caller is cut off",
        "if remote is not None or bound is None or self.has_processors:",
        "if bound is None or self.has_processors:", ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-ending-of-another", "wsgi/request_spans.py", "a failed login shows as a success",
        "self.endings[outcome if success is None else (outcome, success)]", "self.endings[outcome]",
        ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-head-length", "wsgi/request_spans.py", "a joined span cannot be decoded",
        "ITEM_HEADS[len(server)]", "ITEM_HEADS[len(server) + 16]",
        ("wsgi/joined_spans",),
    ),
    Fault(
        "spans-client-errors", "wsgi/names.py", "a 404 is an error of the server",
        'if status[0] != "5"', 'if status[0] not in "45"', ("wsgi/request_spans",),
    ),
    Fault(
        "spans-head-size", "wsgi/request_spans.py", "an answer to HEAD has a size",
        'EMPTY if request.method == "HEAD" else self._sent', "self._sent",
    ),
    Fault(
        "timing-list-changed", "wsgi/server_timing.py", "the application's list of headers grows",
        "response_headers = [*response_headers, (HEADER, timing)]",
        "response_headers += [(HEADER, timing)]",
    ),
    Fault(
        "body-counted-twice", "wsgi/body.py", "bytes that a server reads twice count twice",
        "            if position > self._counted:\n                self._counted = position\n                self._request",
        "            if position:\n                self._counted = position\n                self._request",
        ("wsgi/iteration",),
    ),
    Fault(
        "body-list-counted-twice", "wsgi/body.py", "a list that is iterated twice counts twice",
        "            if position > self._counted:\n                self._counted = position\n                request",
        "            if position:\n                self._counted = position\n                request",
        ("wsgi/iteration",),
    ),
    Fault(
        "body-string-split", "wsgi/body.py", "a body of bytes reaches the server in single bytes",
        "if isinstance(body, bytes):", "if body is None:", ("wsgi/iteration",),
    ),
    Fault(
        "body-length-hidden", "wsgi/body.py", "servers make no Content-Length of a sized body",
        "SizedBody(body, request) if isinstance(body, Sized) else Body(body, request)",
        "Body(body, request)", ("wsgi/iteration",),
    ),
    Fault(
        "file-first-byte", "wsgi/file_wrapper.py", "a file's first byte is its last one",
        "    request.note_first_byte()\n", "",
        ("wsgi/body",),
    ),
    Fault(
        "file-of-c-type", "wsgi/file_wrapper.py", "a file that takes no attribute never ends",
        "        environ[END_KEY] = end\n", "        end._request.finished = True\n",
    ),
    Fault(
        "file-not-restored", "wsgi/file_wrapper.py", "a file that is used again ends a former request",
        "                self._restore(file)\n", "                pass\n",
    ),
    Fault(
        "file-close-lost", "wsgi/file_wrapper.py", "files of the application stay open",
        "                self._close()\n", "                pass\n",
    ),
    Fault(
        "file-wrapped-twice", "wsgi/file_wrapper.py", "an environ that is used again nests wrappers",
        "        wrapper = wrapper.original\n", "        pass\n",
    ),
    Fault(
        "middleware-environ-again", "wsgi/middleware.py", "a second request of an environ is not counted",
        "not outer.finished and (", "(",
    ),
    Fault(
        "middleware-nested-call", "wsgi/middleware.py", "a body that calls the application is not counted",
        "(CURRENT.get() is outer or not outer.status)", "True",
        ("wsgi/conformance",),
    ),
    Fault(
        "stacks-finished", "wsgi/stacks.py", "a request that has ended is slow",
        " and not request.finished:", ":",
    ),
    Fault(
        "stacks-own-frames", "wsgi/stacks.py", "a stack shows the frames of this package",
        "if not each.f_code.co_filename.startswith(_PACKAGE)]", "]",
    ),
    Fault(
        "stacks-unbounded", "wsgi/stacks.py", "a deep stack is recorded whole",
        "reversed(own[:MAX_FRAMES])", "reversed(own)",
    ),
    Fault(
        "stacks-whole-path", "wsgi/stacks.py", "a stack shows the folders of a user",
        "default=os.path.basename(file))", "default=file)",
    ),
    Fault(
        "stacks-any-name", "wsgi/stacks.py", "a stack shows the name of generated code",
        " if _NAME.fullmatch(name) else UNKNOWN", "",
    ),
    Fault(
        "stacks-closing", "wsgi/stacks.py", "a body that is closed slowly has no stack",
        " or code is _RUN", "",
    ),
    Fault(
        "slow-not-doubled", "wsgi/slow_requests.py", "three stacks are taken at once",
        "self._threshold * 2**taken", "self._threshold",
    ),
    Fault(
        "slow-no-limit", "wsgi/slow_requests.py", "a slow server fills its log with stacks",
        "            if not self._left:\n                return\n", "",
    ),
    Fault(
        "slow-without-pause", "wsgi/slow_requests.py", "many threads make the stacks expensive",
        "pause = max(self._interval, (thread_time() - started) / MAX_SHARE)", "pause = self._interval",
    ),
    Fault(
        "slow-of-parent", "wsgi/slow_requests.py", "a child reports the request of its parent",
        "if request.started < self._created:", "if request.started < 0:",
    ),
    Fault(
        "slow-without-trace", "wsgi/slow_requests.py", "a stack in the log belongs to no trace",
        "token = None if context is None else CONTEXT.set(context)", "token = None",
    ),
    Fault(
        "slow-joined", "wsgi/request.py", "the stack of a slow request is not exported",
        "            recorded[0].joinable = False\n", "            pass\n", ("wsgi/slow_requests",),
    ),
    Fault(
        "abort-young", "wsgi/slow_requests.py", "a request that still responds counts as failed",
        "if now - request.started >= KILL_DELAY:", "if request.started:",
    ),
    Fault(
        "abort-not-failed", "wsgi/slow_requests.py", "a request that is killed is not counted",
        "                request.failed(SystemExit(1))\n", "                pass\n",
    ),
    Fault(
        "greenlets-kept", "wsgi/greenlets.py", "each connection leaves a greenlet in memory",
        "            SERVING.discard(each)\n", "            pass\n", ("wsgi/slow_requests",),
    ),
    Fault(
        "greenlets-not-noted", "wsgi/middleware.py", "under gevent a waiting request has no stack",
        "if settings.slow_stack and uses_greenlets():", "if settings.slow_stack < 0:",
    ),
    Fault(
        "middleware-switch-fails", "wsgi/middleware.py", "each WebSocket ends as an error",
        'if "HTTP_UPGRADE" in environ and took_socket(environ, error):', "if took_socket is None:",
        ("wsgi/switch",),
    ),
    Fault(
        "switch-any-error", "wsgi/switch.py", "an error of a WebSocket view is a switch",
        "key in environ and type(error) is kind", "key in environ",
    ),
    Fault(
        "head-lines-unbounded", "wsgi/head.py", "an application fills the memory with status lines",
        "if len(_CODES) < MAX_NAMES:", "if len(_CODES) >= 0:",
    ),
    Fault(
        "head-four-digits", "wsgi/head.py", "a status of four digits is one of three",
        'if line[3:4].strip(" ") or labels', "if labels",
        ("wsgi/request_line",),
    ),
    Fault(
        "request-spans-twice", "wsgi/request.py", "attributes are set on spans that have ended",
        "        self.recorded = None\n        # The", "        # The",
    ),
    Fault(
        "request-error-unscrubbed", "wsgi/request.py", "an exception shows the client's data",
        "token = None if self.error is None else CURRENT.set(self)", "token = None",
        ("wsgi/message_words",),
    ),
    Fault(
        "request-routes-replaced", "wsgi/request.py", "a known route is named by the application",
        "profile.application_routes and self.route is profile.other", "profile.application_routes",
    ),
    Fault(
        "request-last-router", "wsgi/request.py", "the last route that a router finds counts",
        "        if self.view is not None:\n            return\n", "",
    ),
    Fault(
        "routing-args-refused", "wsgi/routing_args.py", "a scanner's paths become templates",
        'if status[:1] not in ("2", "3", "5") or ', "if ",
    ),
    Fault(
        "routing-args-unconfirmed", "wsgi/routing_args.py", "one client's text is a template",
        '== values and template != "/"', '== values and template == ""',
    ),
    Fault(
        "routing-args-twice", "wsgi/routing_args.py", "a value that is literal text, too, is a name",
        "    if any(_find(segments, value) is not None for value in values):\n        return None\n", "",
    ),
    Fault(
        "routing-args-any-text", "wsgi/routing_args.py", "numbers and addresses are in templates",
        "and _LITERAL.fullmatch(segment) is not None", "",
    ),
    Fault(
        "routing-args-endless", "wsgi/routing_args.py", "the number of templates has no bound",
        "or len(self._confirmed) >= MAX_TEMPLATES", "",
    ),
    Fault(
        "request-first-byte", "wsgi/request.py", "the first byte is as late as the last",
        "                return\n        if not self.first_byte:\n            self.first_byte",
        "                return\n        if self.sent:\n            self.first_byte", ("wsgi/conformance",),
    ),
    Fault(
        "upload-tail-lost", "wsgi/upload.py", "the last bytes of a file are not measured",
        '        self._parse(b"")\n', "",
    ),
    Fault(
        "upload-observed-twice", "wsgi/upload.py", "a second request of an environ nests observers",
        "        stream = _parts(stream)[0]\n    return _class_for", "        pass\n    return _class_for",
    ),
    Fault(
        "upload-whole-buffer", "wsgi/upload.py", "an old rest of a buffer is parsed, too",
        '.cast("B")[:result]', '.cast("B")',
    ),
    Fault(
        "outcome-no-document", "wsgi/outcome.py", "an import that brought nothing is a success",
        "if success and route.fetches:", "if success is None:",
    ),
    Fault(
        "outcome-form-drawn-again", "wsgi/outcome.py", "a form drawn again is a success",
        "if success and route.fields:", "if success is None:", ("wsgi/request",),
    ),
    Fault(
        "switch-header-alone", "wsgi/switch.py", "an Upgrade header hides a crash",
        "return UPGRADE in map(str.strip, options)", "return True",
    ),
    Fault(
        "outcome-refused-unread", "wsgi/outcome.py", "a form that is refused unread is not counted",
        "(success or not _is_unread(request))", "True", ("wsgi/request",),
    ),
    Fault(
        "timing-of-no-list", "wsgi/server_timing.py", "what is no list of headers is made one",
        "if type(response_headers) is list:", "if True:",
    ),
)  # fmt: skip

TRACING = (
    Fault(
        "encoder-long-kept", "tracing/encoder.py", "long attribute values stay in memory",
        "if whole and length <= MAX_CACHED_LENGTH:", "if whole:",
    ),
    Fault(
        "encoder-heads-unbounded", "tracing/encoder.py", "attributes of any name fill the memory",
        "if len(_ATTRIBUTE_HEADS) >= MAX_CACHED:", "if len(_ATTRIBUTE_HEADS) < 0:",
    ),
    Fault(
        "encoder-number-is-text", "tracing/encoder.py", "5 is sent as a text after a text",
        "return _ATTRIBUTE_HEADS[key, kind, length] + data",
        "return _ATTRIBUTE_HEADS[key, str, length] + data",
    ),
    Fault(
        "encoder-remote-flag", "tracing/encoder.py", "a remote parent is sent as a local one",
        "        flags = _FLAGS_REMOTE if parent.is_remote else FLAGS_LOCAL\n", "",
    ),
    Fault(
        "encoder-length-boundary", "tracing/encoder.py", "a field of 16384 bytes has a wrong length",
        "if number < 0x4000:", "if number <= 0x4000:",
    ),
    Fault(
        "sampling-boundary", "tracing/sampling.py", "our decision differs from the SDK's sampler",
        "return trace_id[8:] < (self.bound", "return trace_id[8:] <= (self.bound",
    ),
    Fault(
        "sampling-parent", "tracing/sampling.py", "the caller's decision is not followed",
        "            return parent_sampled\n", "            pass\n",
    ),
    Fault(
        "ids-zero", "tracing/ids.py", "a span id may be zero, which is none",
        "self._bits(64) or 1", "self._bits(64)",
    ),
    Fault(
        "incoming-link", "tracing/incoming.py", "a caller who is not trusted is continued",
        'if self._trust == "link":', 'if self._trust == "ignore":',
    ),
    Fault(
        "incoming-still-reading", "tracing/incoming.py", "warnings of the application disappear",
        "            _READING.reset(token)\n", "            pass\n",
    ),
    Fault(
        "span-attribute-limit", "tracing/span.py", "a span has one attribute more than the limit",
        "len(extra) >= limit", "len(extra) > limit",
    ),
    Fault(
        "span-ends-twice", "tracing/span.py", "a span that is ended twice is exported twice",
        "first = self._end_time is None", "first = True",
    ),
    Fault(
        "span-ok-not-final", "tracing/span.py", "an error after OK changes the status",
        "        if self._status.status_code is StatusCode.OK:\n            return\n", "",
    ),
    Fault(
        "span-description-unscrubbed", "tracing/span.py", "a status shows personal data",
        "description = self._tracer.scrub(description)", "description = str(description)",
    ),
    Fault(
        "provider-lock-after-fork", "tracing/provider.py", "a forked child waits for a dead thread",
        "        self.lock = threading.RLock()\n        self.root_lock = threading.RLock()\n        self._resource",
        "        self._resource",
    ),
    Fault(
        "processors-unguarded", "tracing/processors.py", "a processor that raises breaks a request",
        '        with self._guard.at("spans"):\n            self._processor.on_end(span)\n',
        "        self._processor.on_end(span)\n",
    ),
    Fault(
        "processors-no-deadline", "tracing/processors.py", "a processor holds up the end of a worker",
        "thread.join(max(deadline - time.monotonic(), 0.0))", "thread.join()",
    ),
    Fault(
        "pipeline-limit-zero", "runtime/tracing.py", "a limit of 0 attributes counts as none",
        "chosen = shared if limit is None else limit", "chosen = limit or shared",
    ),
    Fault(
        "pipeline-provider-replaced", "runtime/tracing.py", "the application's provider is replaced",
        "if isinstance(trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider):", "if True:",
    ),
    Fault(
        "incoming-baggage", "tracing/incoming.py", "a caller who is not trusted sets our baggage",
        'withheld = () if trust == "continue" else (BAGGAGE,)', "withheld = ()",
    ),
    Fault(
        "incoming-long-header", "tracing/incoming.py", "a header of any length is parsed",
        "and len(value) <= (MAX_BAGGAGE if name == BAGGAGE else MAX_HEADER)", "",
    ),
    Fault(
        "incoming-blanks", "tracing/incoming.py", "a run of blanks costs seconds",
        "        and not _BLANKS.search(value)\n", "",
    ),
    Fault(
        "incoming-members", "tracing/incoming.py", "any number of members is parsed",
        '        and value.count(",") < MAX_MEMBERS\n', "",
    ),
    Fault(
        "incoming-linked-state", "tracing/incoming.py", "a link carries the caller's tracestate",
        "_without_tracestate(valid) if valid else None", "valid",
    ),
    Fault(
        "provider-state-lost", "tracing/provider.py", "children lose the tracestate",
        "return span.inherit(parent) if isinstance(parent, RecordedSpan) else span", "return span",
    ),
    Fault(
        "provider-unsampled-sent", "tracing/provider.py", "spans that are only recorded are exported",
        "        if span._flags & TraceFlags.SAMPLED:\n", "        if span is not None:\n",
        ("tracing/sampling",),
    ),
    Fault(
        "writer-group-lost", "tracing/span.py", "spans of libraries are not in the request's frame",
        "        self._root = parent._root\n", "        self._root = None\n",
        ("tracing/writer",),
    ),
    Fault(
        "writer-late-lost", "tracing/span.py", "a span that ends after its request is lost",
        "if self._closed or (len(self._ended)", "if (len(self._ended)", ("tracing/writer",),
    ),
    Fault(
        "writer-unbounded", "tracing/span.py", "a request with many spans fills the memory",
        "if self._closed or (len(self._ended) >= MAX_ENDED and span is not self):", "if self._closed:",
        ("tracing/writer",),
    ),
    Fault(
        "writer-large-frames", "tracing/writer.py", "a request with large spans is one large frame",
        "if size >= MAX_PART_BYTES:", "if items >= 128:",
    ),
    Fault(
        "writer-parents-spans", "tracing/span.py", "a forked child writes its parent's spans",
        "        self._process = process\n        self._ended = []\n",
        "        self._process = process\n        self._ended = getattr(self, '_ended', [])\n",
        ("tracing/writer",),
    ),
    Fault(
        "writer-child-waits", "tracing/span.py",
        "spans of a forked child wait for a request that does not end there",
        "            self._closed = True\n        self._ended.append", "        self._ended.append",
        ("tracing/writer",),
    ),
    Fault(
        "writer-sections-mixed", "tracing/writer.py", "spans of a library get another one's scope",
        "            scope = self.scope(origin)\n", "            scope = self.scope(next(iter(self._scopes), origin))\n",
    ),
    Fault(
        "keep-error-dropped", "tracing/keep.py", "failed requests are dropped",
        "if rules.errors and ended.failed:", "if rules.errors and not ended.failed:",
    ),
    Fault(
        "keep-general-duration", "tracing/keep.py", "the duration of a route is ignored",
        "            limit = seconds\n", "            limit = limit or seconds\n",
    ),
    Fault(
        "keep-session-slow", "tracing/keep.py", "each WebSocket is kept as a slow request",
        " and ended.status != SWITCHED", "",
    ),
    Fault(
        "keep-threshold-boundary", "tracing/keep.py", "a trace that other services keep is dropped",
        "self._sampling.randomness(trace_id) < self._threshold",
        "self._sampling.randomness(trace_id) <= self._threshold",
    ),
    Fault(
        "keep-share-of-errors", "tracing/keep.py", "a failed request stands for twenty",
        "threshold, limit = self._head, self._budget", "threshold, limit = self._threshold, self._budget",
    ),
    Fault(
        "keep-ratio-of-all", "tracing/keep.py", "the ratio forgets that of the sampler",
        "threshold_of(rules.ratio * (1 - head / WHOLE))", "threshold_of(rules.ratio)",
    ),
    Fault(
        "keep-ratio-takes-all", "tracing/keep.py", "the ratio leaves no budget for errors",
        "rule, limit = RATIO, self._ratio_budget", "rule = RATIO",
    ),
    Fault(
        "keep-state-of-caller", "tracing/keep.py", "any text of a caller's tracestate is exported",
        " if _MEMBER.fullmatch(each)", "",
    ),
    Fault(
        "keep-routes-unbounded", "tracing/keep.py", "routes of an application fill the memory",
        "return route not in self._seen and len(self._seen) < MAX_SEEN", "return route not in self._seen",
    ),
    Fault(
        "keep-randomness-hidden", "tracing/keep.py", "a collector finds traces that cannot be sampled",
        "if self._sampling.is_explicit:", "if False:",
    ),
    Fault(
        "keep-bits-of-the-sampler", "tracing/sampling.py",
        "two ratios depend on each other: all that is sampled is dropped",
        "        if self.is_explicit:\n", "        if False:\n", ("tracing/keep",),
    ),
    Fault(
        "keep-late-written", "tracing/span.py", "spans of a dropped request that end late are exported",
        "            if decision is None or decision.kept:\n                sink.write(spans)",
        "            if True:\n                sink.write(spans)", ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-parts-dropped", "tracing/span.py", "a part of a dropped request is exported",
        "            self._decide_early()\n            spans", "            spans",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-decided-twice", "tracing/span.py", "a request is written in part",
        "            if self.decision is None:\n                self.decision = decision\n",
        "            self.decision = decision\n", ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-late-server", "tracing/span.py", "a span that begins after a dropped request is exported",
        "            server.settle(self._decision)\n", "            pass\n",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-records-of-child", "tracing/span.py", "log records of a forked child are lost",
        "(self._closed or self._process is not tracer.sink.process)", "self._closed",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-logins-of-uploads", "wsgi/request_spans.py", "a refused upload is kept as a login",
        "success is False and route.kind == \"auth\"", "success is False",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-state-unjoined", "wsgi/endings.py", "spans that are joined state no share",
        " + FLAGS_LOCAL + state", " + FLAGS_LOCAL",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "keep-processors-blind", "wsgi/request_spans.py", "processors miss dropped requests",
        "if not decision.kept and not self.tracer.has_processors:", "if not decision.kept:",
        ("wsgi/kept_requests",),
    ),
    Fault(
        "budget-own-second", "tracing/budget.py", "tokens of an earlier second are never free again",
        "(own if base < own < end else base) + 1", "base + 1",
    ),
    Fault(
        "budget-remembered", "tracing/budget.py", "a refusal lasts for longer than its second",
        "if base == self._base and self._taken >= limit:", "if self._taken >= limit:",
    ),
    Fault(
        "sampling-empty-argument", "tracing/sampling.py", "without an argument nothing is sampled",
        "float(argument or 1)", "float(argument or 0)",
    ),
)  # fmt: skip

EXPORT = (
    Fault(
        "continuity-due-at-once", "exporter/continuity.py", "a new exporter pushes at once",
        "return min(max(interval - (time.time() - self._pushed_at), 0.0), interval)", "return 0.0",
    ),
    Fault(
        "continuity-negative-sum", "exporter/continuity.py",
        "a histogram of negative sums begins anew at each push",
        "counts = max(1, len(now) - 1)", "counts = len(now)",
    ),
    Fault(
        "continuity-start", "exporter/continuity.py", "a new series starts when it was seen already",
        "Mark(self._before, (0.0,) * len(values))", "Mark(self._read, (0.0,) * len(values))",
    ),
    Fault(
        "pusher-noted-unsent", "exporter/pusher.py", "increments that did not arrive are lost",
        "            if arrived:\n                self._continuity.sent(batch.values)\n",
        "            if batch:\n                self._continuity.sent(batch.values)\n",
    ),
    Fault(
        "bridge-infinite-bound", "exporter/bridge.py", "the infinite bound is sent",
        "explicit_bounds=bounds[:-1]", "explicit_bounds=bounds",
    ),
    Fault(
        "bridge-temporality", "exporter/bridge.py", "increments are sent as totals",
        "AggregationTemporality.DELTA if continuity.delta else",
        "AggregationTemporality.DELTA if not continuity.delta else",
    ),
    Fault(
        "throttle-short-secret-first", "exporter/foreign.py", "the rest of a longer secret is logged",
        "sorted(found, key=len, reverse=True)", "sorted(found, key=len)", ("exporter/failures",),
    ),
    Fault(
        "pusher-timeout", "exporter/pusher.py", "a push takes longer than it may",
        "deadline = min(deadline, time.monotonic() + self._batch_timeout)",
        "deadline = max(deadline, time.monotonic() + self._batch_timeout)",
    ),
    Fault(
        "destinations-deflate", "config/destinations.py", "gRPC starts with a compression that it lacks",
        'if configured.protocol == GRPC and configured.compression == "deflate":', "if False:",
        ("config/destinations",),
    ),
    Fault(
        "session-endless", "exporter/session.py", "an endless response is read for ever",
        "        self._left -= count\n", "",
    ),
    Fault(
        "session-trickle", "exporter/session.py", "a response byte by byte goes on after the deadline",
        "    if left <= 0:\n        raise TimeoutError(\"timed out\")\n    sock.settimeout(left)\n",
        "    sock.settimeout(max(left, 1.0))\n",
    ),
    Fault(
        "session-url-logged", "exporter/session.py", "the key in a URL is logged",
        "return _DEADLINE.get() is None", "return True",
    ),
    Fault(
        "session-compressed", "exporter/session.py", "a compressed response is parsed as it is",
        'return b"" if "Content-Encoding" in response.headers else body', "return body",
    ),
    Fault(
        "continuity-future", "exporter/continuity.py", "a push in the future delays the next for ever",
        "return min(max(interval - (time.time() - self._pushed_at), 0.0), interval)",
        "return max(interval - (time.time() - self._pushed_at), 0.0)",
    ),
    Fault(
        "continuity-folder-gone", "exporter/continuity.py", "no push after the folder was removed",
        "        except FileNotFoundError:  # the directory", "        except KeyError:  # the directory",
    ),
    Fault(
        "continuity-grows", "exporter/continuity.py", "the state file grows without end",
        "if self._size > MAX_GROWTH + 4 * self._size_after_rewrite:", "if self._size < 0:",
    ),
    Fault(
        "foreign-part", "exporter/foreign.py", "a part of a secret is logged",
        "            if not _ENDS.search(part)\n", "            if not part\n", ("exporter/failures",),
    ),
)  # fmt: skip

PROCESS = (
    Fault(
        "runtime-layers-not-stale", "runtime/lifecycle.py", "a forked child goes on with its parent's layer",
        "            layer.stale = True\n", "            pass\n",
    ),
    Fault(
        "runtime-off-page", "runtime/states.py", "a worker that is off serves a metrics page",
        'Settings.from_env({"AVATAR_TELEMETRY_METRICS_PATH": ""})', "settings", ("runtime/lifecycle",),
    ),
    Fault(
        "runtime-watch-goes-on", "runtime/states.py", "a worker that ends goes on to take stacks",
        "            self._slow_requests.stop()\n", "            pass\n", ("runtime/lifecycle",),
    ),
    Fault(
        "runtime-child-keeps-slot", "metrics/slot_files.py", "a process holds a slot that it has left",
        "            slot.close()\n\n    def of_child", "            pass\n\n    def of_child",
    ),
    Fault(
        "runtime-worker-releases", "metrics/folder.py", "a worker that ends removes the server's folder",
        "if os.getpid() != self.opened_by:", "if False:", ("runtime/lifecycle",),
    ),
    Fault(
        "runtime-live-gauges-stay", "metrics/slot_files.py", "a slot begins with its last holder's requests",
        "            remove_live_gauges(self._folder.path, slot.number)\n", "            pass\n",
    ),
    Fault(
        "runtime-folder-not-given", "runtime/lifecycle.py", "libraries do not find the runtime folder",
        "self.environ[FOLDER] = str(folder.path)", 'self.environ.setdefault(FOLDER, "")',
    ),
    Fault(
        "runtime-switched-off-writes", "runtime/lifecycle.py", "a worker that is off writes the master's files",
        "        self.book.detach()  # from the files of a master that started with the telemetry on\n",
        "",
    ),
    Fault(
        "runtime-upgrade-tries-port", "runtime/lifecycle.py", "an upgrade fails for the old server's port",
        "lambda: None if upgrades else startup.check_endpoint(", "lambda: startup.check_endpoint(",
    ),
    Fault(
        "gunicorn-handler-frame", "gunicorn.py", "the stack of an aborted worker ends in the handler",
        "return sys._getframe() if frame is None else frame.f_back", "return sys._getframe()",
    ),
    Fault(
        "gunicorn-signal-lost", "gunicorn.py", "a worker that is stopped during its start goes on",
        "    if received:\n        raise SystemExit(0)\n", "",
    ),
    Fault(
        "gunicorn-other-worker", "gunicorn.py", "the master ends its telemetry for a dead worker",
        "if worker.pid == os.getpid():", "if worker.pid:",
    ),
    Fault(
        "gunicorn-green-by-name", "gunicorn.py", "a class below gevent's is not known as green",
        "for base in worker_class.__mro__)", "for base in (worker_class,))",
    ),
    Fault(
        "entry-point-no-traceback", "runtime/entry_point.py", "why the application's import failed is hidden",
        "None if missing else error)", "None)",
    ),
    Fault(
        "startup-exit-is-good", "runtime/startup.py", "a profile that ends the process counts as usable",
        "EXIT_PASSED = 42", "EXIT_PASSED = 0",
    ),
    Fault(
        "startup-root-stays", "_base/files.py", "the master goes on as the workers' user",
        "    finally:\n        os.seteuid(was_uid)\n", "    finally:\n",
    ),
    Fault(
        "worker-process-first", "wsgi/worker.py", "a request records with another application's profile",
        "        if request is not None:\n", "        if request is None:\n",
    ),
    Fault(
        "log-shown-thrice", "_base/log.py", "debug output comes once for each logger that is on",
        "            logger.debug(message, *args, stacklevel=2)\n            return\n",
        "            logger.debug(message, *args, stacklevel=2)\n",
    ),
    Fault(
        "runtime-inherits-folder", "runtime/lifecycle.py", "an upgrade takes the old master's folder as named",
        "            del self.environ[FOLDER]\n", "            pass\n",
    ),
    Fault(
        "runtime-masters-values", "runtime/states.py", "the master's values go with a removed folder",
        "            self.runtime.book.move(self.folder.path, MASTER_IDENTIFIER)\n", "            pass\n",
        ("runtime/lifecycle",),
    ),
    Fault(
        "runtime-file-removed", "metrics/slot_files.py", "what goes into a removed file is lost",
        " and book.is_intact):", "):",
    ),
    Fault(
        "runtime-slot-removed", "metrics/slot_files.py", "two workers share a slot whose lock was removed",
        " and slot.is_safe(folder.path)", "",
    ),
    Fault(
        "runtime-never-young", "metrics/slot_files.py", "a cleaner removes the files of a quiet server",
        "                folder.renew_times()\n", "                pass\n",
    ),
    Fault(
        "runtime-moved-twice", "metrics/slot_files.py", "a slot that was lost keeps its descriptors",
        "            self._book.move(path, self._slot.identifier)\n        slot.close()\n",
        "            self._book.move(path, self._slot.identifier)\n",
    ),
    Fault(
        "runtime-child-as-worker", "runtime/states.py", "children of the application count as workers",
        "of_child(worker=not self.hooks_pid)", "of_child(worker=True)", ("runtime/lifecycle",),
    ),
    Fault(
        "runtime-declared-late", "runtime/states.py", "probes of a wrapped application are not installed",
        "(load_profile(settings.profile), *filter(None, runtime.declared))",
        "(load_profile(settings.profile),)", ("runtime/lifecycle",),
    ),
)  # fmt: skip

CONFIG = (
    Fault(
        "keeping-budget-alone", "config/keeping.py", "a budget alone drops every request in silence",
        'if not faults and not (values.keys() - {"budget"} or routes):', "if False:",
    ),
    Fault(
        "keeping-twice", "config/keeping.py", "of a rule that is given twice, one is ignored",
        "    if is_repeated:\n", "    if False:\n",
    ),
    Fault(
        "keeping-last-colon", "config/keeping.py", "a route with a colon has another duration",
        "route, _, duration = argument.rpartition", "route, _, duration = argument.partition",
    ),
    Fault(
        "parsing-least-number", "config/parsing.py",
        "the least number that is allowed is refused",
        "        value = float(text)\n        if not minimum <= value <= maximum:",
        "        value = float(text)\n        if not minimum < value <= maximum:",
    ),
    Fault(
        "parsing-largest-count", "config/parsing.py",
        "the largest count that is allowed is refused",
        "        value = int(text)\n        if not minimum <= value <= maximum:",
        "        value = int(text)\n        if not minimum <= value < maximum:",
    ),
    Fault(
        "parsing-header-split", "config/parsing.py",
        "a header of an export has a line break",
        '    if not all(value.isprintable() and value.isascii() for _, value in pairs):\n        raise ValueError("not a header value")\n',
        "",
    ),
    Fault(
        "parsing-port-zero", "config/parsing.py",
        "an endpoint with port 0 is accepted",
        "    if url.port == 0:",
        "    if url.port == 1:",
    ),
    Fault(
        "parsing-many-sizes", "config/parsing.py",
        "a label has any number of values",
        "or len(sizes) > 100",
        "",
    ),
    Fault(
        "parsing-long-key", "config/parsing.py",
        "a key that the hash cannot take is accepted",
        "8 <= len(text) <= 64",
        "8 <= len(text) <= 640",
    ),
    Fault(
        "parsing-none-and-more", "config/parsing.py",
        "none is combined with a propagator",
        "    if len(known) > 1:\n        known = tuple(each for each in known if each != \"none\")\n",
        "",
    ),
    Fault(
        "parsing-encoded-key", "config/parsing.py",
        "the key of an attribute stays percent-encoded",
        "(unquote(key.strip()), unquote(value.strip()))",
        "(key.strip(), unquote(value.strip()))",
    ),
    Fault(
        "resource-child-pid", "config/resource.py",
        "a host's resource has the pid of a child",
        "if PROCESS_PID not in resource.attributes:",
        "if False:",
    ),
    Fault(
        "resource-digit", "config/resource.py",
        "a label of target_info begins with a digit",
        'f"key_{name}" if name[:1].isdigit() else name',
        "name",
    ),
    Fault(
        "resource-joined-order", "config/resource.py",
        "attributes of one label change their order",
        "for key in sorted(attributes):",
        "for key in attributes:",
    ),
    Fault(
        "variable-empty", "config/variable.py",
        "an empty variable hides its alias",
        "if text or (text is not None and setting.empty):",
        "if text is not None:",
    ),
)  # fmt: skip

SCRAPE = (
    Fault(
        "process-hostile-name", "metrics/procfs.py",
        "the name of a process moves its numbers",
        'file.read().rpartition(") ")[2]',
        'file.read().partition(") ")[2]',
    ),
    Fault(
        "process-zombie", "metrics/procfs.py",
        "a worker that has ended holds its slot",
        "return not stat.zombie and started in (0, stat.start_ticks)",
        "return started in (0, stat.start_ticks)",
    ),
    Fault(
        "process-pages", "metrics/procfs.py",
        "memory is shown in pages",
        "int(fields[21]) * PAGE_SIZE",
        "int(fields[21])",
    ),
    Fault(
        "collector-name-wins", "metrics/collector.py",
        "a metric of the application replaces one of ours",
        "for each in reversed(families)",
        "for each in families",
    ),
    Fault(
        "collector-idle", "metrics/collector.py",
        "busy workers count as idle, too",
        "float(len(workers) - busy)",
        "float(len(workers))",
    ),
    Fault(
        "collector-created", "metrics/registered.py",
        "times of creation are on the page",
        'if not sample.name.endswith("_created")',
        "",
    ),
    Fault(
        "port-without-token", "exporter/port.py",
        "the open port asks for a token that is not set",
        "if self._token and not self._access.permits(environ):",
        "if not self._access.permits(environ):",
    ),
    Fault(
        "exposition-proxy", "metrics/exposition.py", "the whole internet reads the page by a proxy",
        "not any(map(_is_forwarding, environ)) and self", "self",
    ),
    Fault(
        "exposition-empty-token", "metrics/exposition.py", "an empty token opens the page",
        "            bool(self._token)\n            and scheme", "            scheme",
    ),
    Fault(
        "exposition-scheme", "metrics/exposition.py", "a password of the same text opens the page",
        '            and scheme.lower() == "bearer"\n', "",
    ),
    Fault(
        "exposition-eof", "metrics/exposition.py", "an OpenMetrics page that is cut off looks whole",
        '        parts.append("# EOF\\n")\n', "        pass\n",
    ),
    Fault(
        "exposition-head", "metrics/exposition.py", "a HEAD of the page has a body",
        'return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]', "return [body]",
    ),
    Fault(
        "exposition-gzip-unasked", "metrics/exposition.py", "a client without gzip gets gzip",
        "is_valid and bool(header", "bool(header",
    ),
    Fault(
        "exposition-openmetrics-refused", "metrics/exposition.py", "a format of quality 0 is sent",
        "bool(openmetrics) and openmetrics >= text", "openmetrics >= text",
    ),
    Fault(
        "exposition-infinity", "metrics/exposition.py", "negative infinity is a positive one",
        'return "+Inf" if value > 0 else "-Inf"', 'return "+Inf"',
    ),
    Fault(
        "collector-folder-gone", "metrics/collector.py", "a scrape fails when the folder is removed",
        "        except OSError:\n            return []  # the directory", "        except KeyError:\n            return []  # the directory",
    ),
    Fault(
        "collector-children-workers", "metrics/collector.py", "children count as idle workers",
        "workers = [holder for holder in alive if holder.worker]", "workers = alive",
    ),
)  # fmt: skip

PUSH = (
    Fault(
        "pusher-deadline", "exporter/pusher.py",
        "a push goes on after its time",
        "while (left := deadline - time.monotonic()) > MIN_TIMEOUT:",
        "while left := max(deadline - time.monotonic(), 1.0):",
    ),
    Fault(
        "pusher-after-refusal", "exporter/pusher.py",
        "batches are sent after one was refused",
        "arrived and self._export(batch, deadline)",
        "self._export(batch, deadline)",
    ),
    Fault(
        "pusher-one-of-two", "exporter/pusher.py",
        "a push that one exporter refused has arrived",
        "return all(arrived)",
        "return any(arrived)",
    ),
    Fault(
        "pusher-counted", "exporter/pusher.py",
        "a failed push counts as exported",
        '"exported" if arrived else "failed"',
        '"exported"',
    ),
    Fault(
        "destinations-disabled", "config/destinations.py",
        "a disabled SDK exports",
        "return settings.export_enabled and not settings.sdk_disabled",
        "return settings.export_enabled",
    ),
)  # fmt: skip

PROBES = (
    Fault(
        "werkzeug-tests", "probes/werkzeug.py", "test() of another method names the request",
        " or method not in (None, adapter.default_method)", "",
    ),
    Fault(
        "werkzeug-rule", "probes/werkzeug.py", "a caller that wants the endpoint gets the rule",
        "(rule if return_rule else rule.endpoint)", "rule",
    ),
    Fault(
        "falcon-refused", "probes/falcon.py", "a refused method has the route of the resource",
        "responder.__module__ == DEFAULTS", "False",
    ),
    Fault(
        "pyramid-subrequest", "probes/pyramid.py", "a subrequest names its request",
        "route is None or not is_of(request, http_request.environ)", "route is None",
    ),
    Fault(
        "bottle-hook", "probes/bottle.py", "a question for another path names the request",
        "not is_of(request, environ)", "False",
    ),
    Fault(
        "policy-root-dot", "probes/policy.py",
        "a host with a final dot gets no trace context",
        'host.lower().removesuffix(".")',
        "host.lower()",
    ),
    Fault(
        "policy-same-end", "probes/policy.py",
        "a host with the same end gets the trace context",
        'name.endswith("." + listed)',
        "name.endswith(listed)",
    ),
    Fault(
        "named-empty-value", "probes/named.py",
        "an empty value in the cache is a miss",
        "hit=result is not None",
        "hit=bool(result)",
    ),
    Fault(
        "named-inside", "probes/named.py",
        "all that follows a generator is the generator's",
        "                INSIDE.reset(token)",
        "                pass",
    ),
    Fault(
        "cursor-missing-once", "probes/cursor_spans.py",
        "a missing instrumentation is logged for each statement",
        "            self._missing = True\n",
        "",
    ),
    Fault(
        "cursor-unread-rows", "probes/cursor_spans.py",
        "a number of rows that is not known is noted",
        "0 <= rows < MAX_ROWS",
        "0 <= rows",
    ),
    Fault(
        "propagation-proxy", "probes/propagation.py",
        "the trace context goes to the host behind a listed proxy",
        'whole or getattr(connection, "_tunnel_host", None) or connection.host',
        "connection.host", ("probes/httpclient",),
    ),
    Fault(
        "httpclient-no-response", "probes/httpclient.py",
        "a request without a response is not counted",
        "        except BaseException as error:\n            call.close(error)\n            raise",
        "        finally:\n            pass",
    ),
    Fault(
        "urllib-post", "probes/urllib.py",
        "a form is shown as GET",
        'target("GET" if data is None else "POST", fullurl)',
        'target("GET", fullurl)',
    ),
    Fault(
        "outside-gone", "probes/outside.py",
        "a picture that is gone is a failure of the service",
        "NOT_FOUND = (404, 410)",
        "NOT_FOUND = (404,)",
    ),
)  # fmt: skip

CLI = (
    Fault(
        "samples-client-errors", "cli/samples.py",
        "errors of clients are errors of the server",
        'if code[:1] == "5")',
        'if code[:1] in "45")',
    ),
    Fault(
        "rates-busy", "cli/rates.py",
        "idle workers are shown as busy, too",
        'now.total("gunicorn_workers", state="busy")',
        'now.total("gunicorn_workers")',
    ),
    Fault(
        "board-milliseconds", "cli/board.py",
        "a duration in seconds is shown as milliseconds",
        'f"{seconds * 1000:.1f} ms" if',
        'f"{seconds:.1f} ms" if',
    ),
    Fault(
        "layout-cut", "cli/layout.py",
        "a cut text is a column too long",
        "while text and _size(text) > width - 1:",
        "while text and _size(text) > width:",
    ),
    Fault(
        "thresholds-events", "cli/thresholds.py",
        "one failed request of one is an alarm",
        "if value is None or events <= self.events:",
        "if value is None:",
    ),
    Fault(
        "rates-reset", "cli/rates.py",
        "a histogram that was reset gives wrong percentiles",
        "counts = list(accumulate((buckets[bound] for bound in bounds), max))",
        "counts = list(accumulate((buckets[bound] for bound in bounds), lambda _, each: each))",
    ),
    Fault(
        "top-restart", "cli/top.py",
        "a restarted server counts from its last values",
        "last is None or page.total(REQUESTS) < last[1].total(REQUESTS)",
        "last is None",
    ),
    Fault(
        "board-hours", "cli/board.py",
        "an hour has 24 minutes",
        "hours, minutes = divmod(minutes, 60)",
        "hours, minutes = divmod(minutes, 24)",
    ),
    Fault(
        "finding-none", "cli/checks/finding.py",
        "no finding ends the doctor with an error",
        "max((STATUS[each.level] for each in findings), default=0)",
        "max((STATUS[each.level] for each in findings))",
    ),
    Fault(
        "sending-unconnected", "cli/checks/sending.py",
        "a busy collector is a port without any response",
        ' == "UNAVAILABLE" and any(', ' == "UNAVAILABLE" or any(',
    ),
    Fault(
        "exporter-check-age", "cli/checks/exporter.py", "spans that wait for hours are good",
        "found.age > max_age,", "False,",
    ),
    Fault(
        "host-farthest-line", "cli/checks/host.py", "a directory with its own line is cleaned",
        "for parent in (path, *path.parents):", "for parent in (*path.parents, path):",
    ),
    Fault(
        "given-misspelt-secret", "cli/given.py", "the value of a misspelt secret is shown",
        "(setting is None or setting.secret or", "(setting is not None and setting.secret or",
    ),
    Fault(
        "flamegraph-callers", "cli/flamegraph.py", "a frame is as wide as its last stack",
        "            node.samples += count\n", "            node.samples = count\n",
    ),
    Fault(
        "profile-last-worker", "cli/profile.py", "only the last worker is in the profile",
        "stacks += parse_collapsed(", "stacks = parse_collapsed(",
    ),
)  # fmt: skip

CLIENT = (
    Fault(
        "privacy-strict-hash", "http/privacy.py", "strict keeps a hash of the avatar",
        '        if self.mode == "strict" or not text:\n            return None\n        if self.mode == "off":\n            return scrub',
        '        if not text:\n            return None\n        if self.mode == "off":\n            return scrub',
    ),
    Fault(
        "privacy-hash-case", "http/privacy.py", "one avatar has several hashes",
        ".strip().lower().encode(", ".strip().encode(",
    ),
    Fault(
        "privacy-whole-address", "http/privacy.py", "balanced keeps the whole address",
        "NETWORK_BITS = {4: 24, 6: 48}", "NETWORK_BITS = {4: 32, 6: 48}",
    ),
    Fault(
        "privacy-cut-email", "http/privacy.py", "an e-mail address at the bound is half kept",
        "_without_emails(value[: 2 * MAX_TEXT_LENGTH])", "_without_emails(value[:MAX_TEXT_LENGTH])",
    ),
    Fault(
        "privacy-source-lines", "http/privacy.py", "balanced keeps lines of source",
        '        if self.mode == "balanced":\n            frames', '        if self.mode == "none":\n            frames',
    ),
    Fault(
        "privacy-unlisted-value", "http/privacy.py", "any value of a listed key is kept",
        "else value in rule", "else bool(rule)",
    ),
    Fault(
        "privacy-many-fields", "http/privacy.py", "the rest of a long query is kept",
        "islice(fields, MAX_FIELDS)", "fields",
    ),
    Fault(
        "forwarded-any-peer", "http/forwarded.py", "any client names its own address",
        "        if not self._trusts(address):\n            return Origin(address, None)\n", "",
    ),
    Fault(
        "forwarded-from-left", "http/forwarded.py", "the address that the client wrote is taken",
        "in reversed(forwarded_for", "in (forwarded_for",
    ),
    Fault(
        "forwarded-hops", "http/forwarded.py", "any number of hops is walked",
        "zip(hops, range(MAX_HOPS), strict=False)", "zip(hops, hops, strict=False)",
    ),
    Fault(
        "forwarded-cut-half", "http/forwarded.py", "half an address of a long header is taken",
        '"?" + header[-MAX_HEADER_LENGTH:]', "header[-MAX_HEADER_LENGTH:]",
    ),
    Fault(
        "forwarded-any-scheme", "http/forwarded.py", "a proxy's scheme may be any text",
        'return scheme if scheme in ("http", "https") else None', "return scheme or None",
    ),
    Fault(
        "authority-own-port", "http/authority.py", "a host behind a proxy has the server's port",
        "return found if found.port else found._replace(port=default)", "return found",
    ),
    Fault(
        "authority-port-zero", "http/authority.py", "port 0 is one",
        "if 0 < int(text) <=", "if 0 <= int(text) <=",
    ),
    Fault(
        "authority-brackets", "http/authority.py", "what is no IPv6 address is a host",
        "        except ValueError:\n            return None\n    return Authority(text", "        except ValueError:\n            pass\n    return Authority(text",
    ),
    Fault(
        "excluded-by-host", "http/excluded.py", "a client excludes itself by its Host header",
        'self._urls = ExcludeList([pattern for pattern in wanted if "://" in pattern])',
        "self._urls = ExcludeList(wanted)",
    ),
    Fault(
        "excluded-blank", "http/excluded.py", "a comma at the end excludes everything",
        "if pattern.strip()]", "]",
    ),
    Fault(
        "headers-credentials", "http/headers.py", "a captured cookie is shown",
        '*(CREDENTIALS if mode != "off" else ())', "",
    ),
    Fault(
        "headers-part-of-name", "http/headers.py", "a header is captured by a part of its name",
        "self._wanted.fullmatch(name)", "self._wanted.search(name)",
    ),
    Fault(
        "headers-last-value", "http/headers.py", "of a repeated header the last value is shown",
        "found[key] = (*found.get(key, ()), decoded", "found[key] = (decoded",
    ),
    Fault(
        "scrub-half-word", "http/scrub.py", "words of a query that is encoded are kept",
        "for form in {short, unquote_plus(short)}:", "for form in {short}:", ("wsgi/message_words",),
    ),
)  # fmt: skip

LOGS = (
    Fault(
        "export-of-our-threads", "logs/export.py", "what a library logs in an export is sent",
        "        or threading.current_thread().name.startswith(OUR_THREADS)\n", "",
    ),
    Fault(
        "export-last-resort", "logs/export.py", "warnings vanish where no handler is",
        "            last.handle(record)\n", "            return\n",
    ),
    Fault(
        "export-child-twice", "logs/export.py", "a child exports each record twice",
        "                root.removeHandler(other)\n", "                pass\n",
    ),
    Fault(
        "export-no-stacks", "logs/export.py", "stacks of slow requests are not exported as records",
        "    return name != REQUESTS.name and (", "    return bool(",
    ),
    Fault(
        "export-message-raw", "logs/export.py", "a log record shows the client's data",
        "self._privacy.message(message, _codes_of(record)) if has_client_data else message", "message",
    ),
    Fault(
        "export-info", "logs/export.py", "each level is exported",
        "super().__init__(LEVEL)", "super().__init__()",
    ),
    Fault(
        "log-records-detach", "runtime/recording.py", "records are taken after the end",
        "            self._logs.detach()\n", "            pass\n",
    ),
    Fault(
        "correlation-extra", "logs/correlation.py", "an application's own trace_id fails",
        "key not in FIELDS and super().__contains__(key)", "super().__contains__(key)",
    ),
    Fault(
        "correlation-own-value", "logs/correlation.py", "an inner factory's trace_id is replaced",
        "                fields.update(known)\n                record.__dict__ = fields\n",
        "                record.__dict__ = CorrelatedFields({**known, **fields})\n",
    ),
    Fault(
        "correlation-wrapped-twice", "logs/correlation.py", "each reload wraps the factory again",
        "inner = current.inner if isinstance(current, CorrelatedFactory) else current",
        "inner = current",
    ),
    Fault(
        "correlation-pickled", "logs/correlation.py", "a record cannot be sent to another process",
        "return dict, (dict(self),)", "return CorrelatedFields, (None,)",
    ),
)  # fmt: skip

RINGS = ("exporter/ring", "exporter/ring_kills")

RING = (
    Fault(
        "ring-mark-first", "exporter/ring_writer.py", "a kill amidst a put leaves half a frame",
        """        self._data[start : start + length] = payload
        if head > 1:
            words[index + 1] = checksum_of(position, word, payload)
        words[index] = word
        words[WRITTEN] = (end << COUNT_BITS) + (mark + items & MAX_ITEMS)
""",
        """        words[WRITTEN] = (end << COUNT_BITS) + (mark + items & MAX_ITEMS)
        self._data[start : start + length] = payload
        if head > 1:
            words[index + 1] = checksum_of(position, word, payload)
        words[index] = word
""",
        RINGS,
    ),
    Fault(
        "ring-overwrites", "exporter/ring_writer.py", "a full ring loses its oldest frames",
        "if end - read > capacity or units > half", "if units > half", RINGS,
    ),
    Fault(
        "ring-items-unbounded", "exporter/ring_writer.py", "OTEL_BSP_MAX_QUEUE_SIZE is no bound",
        "if waiting and waiting + items > self._max_items:", "if False:", RINGS,
    ),
    Fault(
        "ring-large-frame-never", "exporter/ring_writer.py",
        "with a small queue, a request of more spans is never recorded",
        "if waiting and waiting + items > self._max_items:",
        "if waiting + items > self._max_items:", RINGS,
    ),
    Fault(
        "ring-longest-by-chance", "exporter/ring_writer.py",
        "a long frame is kept or dropped by its position",
        " or units > half or items", " or items", RINGS,
    ),
    Fault(
        "ring-padding-length", "exporter/ring_writer.py", "a ring is corrupt after one round",
        "word = (units - self._head) * 8 |", "word = units * 8 |", RINGS,
    ),
    Fault(
        "ring-padding-too-short", "exporter/ring_writer.py",
        "with checksums, nothing is written where one word is left",
        "        if units < self._head:\n            return\n", "", RINGS,
    ),
    Fault(
        "ring-padding-alone", "exporter/ring_writer.py", "a frame is stored over its padding",
        "            self._words[WRITTEN] = position + space << COUNT_BITS | written & MAX_ITEMS\n", "",
        RINGS,
    ),
    Fault(
        "ring-wrong-resource", "exporter/ring_writer.py",
        "in a full ring, a worker's spans bear the resource of the last one",
        "if self._due is not None and kind != RESOURCE:", "if False:", RINGS,
    ),
    Fault(
        "ring-put-amidst-put", "exporter/ring_writer.py", "a signal handler's log record ruins a frame",
        "if self._busy:  #", "if False:  #", RINGS,
    ),
    Fault(
        "ring-owner-kept", "exporter/ring_writer.py", "after an exit amidst a put nothing is recorded",
        "                finally:\n                    self._busy = False\n",
        "                else:\n                    self._busy = False\n",
        RINGS,
    ),
    Fault(
        "ring-wakes-each-time", "exporter/ring_writer.py", "above half, each request wakes the exporter",
        "HALF_FULL if is_half and not was_half else", "HALF_FULL if is_half else", RINGS,
    ),
    Fault(
        "ring-wake-by-bytes-only", "exporter/ring_writer.py",
        "many small spans are dropped before the exporter is woken",
        "is_half = end - read > half or waiting + items > half_items", "is_half = end - read > half",
        RINGS,
    ),
    Fault(
        "ring-kind-unchecked", "exporter/ring_writer.py", "an unknown kind makes a ring corrupt",
        "KIND_BITS[kind]", "kind << 32", RINGS,
    ),
    Fault(
        "ring-waiting-replaced", "exporter/ring_writer.py", "another RING_SIZE loses what waits",
        "    if waiting or (same", "    if (same", RINGS,
    ),
    Fault(
        "ring-worn-kept", "exporter/ring_writer.py", "after 140 TB a slot records nothing any more",
        "ring.words[WRITTEN] >> COUNT_BITS < MAX_POSITION // 2", "True",
        RINGS,
    ),
    Fault(
        "ring-child-writes", "exporter/ring_writer.py", "a forked child writes into its parent's ring",
        "takes no lock.\"\"\"\n        self.close()\n", "takes no lock.\"\"\"\n", RINGS,
    ),
    Fault(
        "ring-named-early", "exporter/ring_file.py", "a reader meets a ring that is being made",
        'draft = path.with_name(f"{path.name}.new")', "draft = path", RINGS,
    ),
    Fault(
        "ring-counts-forgotten", "exporter/ring_file.py", "counters of dropped spans go back",
        "for index in (GENERATION, DROPPED_SPANS, DROPPED_LOGS):", "for index in (GENERATION,):", RINGS,
    ),
    Fault(
        "ring-shortage-is-corruption", "exporter/ring_file.py",
        "a process without descriptors sets aside a good ring",
        "if error.errno in FOREIGN:", "if error.errno:", RINGS,
    ),
    Fault(
        "ring-checksum-anywhere", "exporter/ring_file.py",
        "a frame of the round before is sent a second time",
        "(position ^ word ^ word >> 32)", "(word ^ word >> 32)", RINGS,
    ),
    Fault(
        "ring-frame-unbounded", "exporter/ring_file.py", "a corrupt length reads beyond what was written",
        " or units > last - position or", " or", RINGS,
    ),
    Fault(
        "ring-resource-replaced", "exporter/ring_file.py",
        "a reader that is killed leaves spans with a wrong resource",
        "(1 - self.area_in_force(read))", "self.area_in_force(read)", RINGS,
    ),
    Fault(
        "ring-resource-unchecked", "exporter/ring_file.py",
        "a worker goes on with a ring that no exporter can read",
        "        self.resource_in_force(position)\n", "", RINGS,
    ),
    Fault(
        "ring-advanced-first", "exporter/ring_reader.py",
        "a reader that is killed leaves spans without their resource",
        """        if self._passed is not None:
            self._file.store_resource(self._start >> COUNT_BITS, *self._passed)
        self._words[READ] = end
""",
        """        self._words[READ] = end
        if self._passed is not None:
            self._file.store_resource(self._start >> COUNT_BITS, *self._passed)
""",
        RINGS,
    ),
    Fault(
        "ring-two-readers", "exporter/ring_reader.py", "a second reader moves the position back",
        "if self._words[READ] != self._start:", "if False:", RINGS,
    ),
    Fault(
        "ring-batch-unbounded", "exporter/ring_reader.py", "a batch has more spans than were asked for",
        " or total + items > max_items)", ")", RINGS,
    ),
    Fault(
        "ring-count-drifts", "exporter/ring_reader.py", "one wrong count drops spans for ever",
        "end = written if position == last else position", "end = position", RINGS,
    ),
    Fault(
        "ring-not-awaited", "exporter/ring_reader.py",
        "without x86's order of stores, good frames are skipped",
        "while self._retries:", "while False:", RINGS,
    ),
    Fault(
        "ring-torn-kept", "exporter/ring_reader.py", "a torn frame is counted with later batches, too",
        "self._passed, self.torn, self._start = None, 0, read", "self._passed, self._start = None, read",
        ("exporter/rings",),
    ),
    Fault(
        "ring-torn-uncounted", "exporter/rings.py", "spans in torn frames are lost without a count",
        "        for _ in range(reader.torn):\n            self._failed()\n", "", ("exporter/rings",),
    ),
    Fault(
        "ring-aside-uncounted", "exporter/ring_writer.py", "a ring is set aside without a count",
        "        failed()\n        set_aside", "        set_aside", RINGS,
    ),
    Fault(
        "folder-rings-left", "metrics/folder.py", "spans of a server before are sent by the next one",
        r"|(spans|logs)-\d+\.ring(\.new|\.corrupt)?", "",
    ),
)  # fmt: skip

EXPORTER = (
    Fault(
        "clients-redirect", "exporter/clients.py", "a redirected batch is sent again for ever",
        "            return Outcome(False, error=str(error))\n",
        "            return Outcome(False, retry=True, error=str(error))\n",
    ),
    Fault(
        "clients-certificate", "exporter/clients.py", "a certificate that is replaced stops the export",
        "        except (OSError, ValueError) as error:\n            # An error of requests",
        "        except ValueError as error:\n            # An error of requests",
    ),
    Fault(
        "clients-retries-400", "exporter/clients.py", "a refused batch blocks all others",
        "        retry = status in RETRYABLE\n", "        retry = True\n",
    ),
    Fault(
        "clients-negative", "exporter/clients.py", "a collector's number makes counts negative",
        "True, max(int(getattr(partial, service.rejected)), 0),",
        "True, int(getattr(partial, service.rejected)),",
    ),
    Fault(
        "clients-exhausted", "exporter/clients.py", "a collector without resources is asked again",
        ' and (code != "RESOURCE_EXHAUSTED" or wait is not None)', "",
    ),
    Fault(
        "clients-wait-for-ever", "exporter/clients.py", "a collector stops the export for years",
        "            return min(max(seconds, 0.0), MAX_WAIT)\n", "            return max(seconds, 0.0)\n",
    ),
    Fault(
        "signals-settled-early", "exporter/signals.py", "a batch that was not accepted leaves the ring",
        "            if refused is None:\n                return False\n",
        "            if refused is None:\n                self._rings.settle()\n                return False\n",
    ),
    Fault(
        "signals-uncounted-again", "exporter/signals.py", "a counter without space sends a batch again",
        '                with self._guard.at("store"):  # or the batch would be sent again\n                    self._count(result, amount)\n',
        "                self._count(result, amount)\n",
    ),
    Fault(
        "signals-last-client", "exporter/signals.py", "a batch that one of two refuses is exported",
        "failed = max(failed, refused)", "failed = refused",
    ),
    Fault(
        "signals-too-large", "exporter/signals.py", "a batch that is too large is lost",
        "        if outcome.too_large and len(frames) > 1:\n", "        if False:\n",
    ),
    Fault(
        "signals-retries-at-end", "exporter/signals.py", "the end waits for a collector that is down",
        "lost=self._lost)\n                return None\n", "lost=self._lost)\n",
    ),
    Fault(
        "signals-traced", "exporter/signals.py", "exports are traced as requests of the application",
        '        context.attach(context.set_value("suppress_instrumentation", True))\n', "",
    ),
    Fault(
        "rings-one-stops-all", "exporter/rings.py", "a ring that cannot be opened stops all exports",
        "                except (OSError, ValueError):  # it must not delay the others\n",
        "                except KeyError:\n",
    ),
    Fault(
        "rings-unfair", "exporter/rings.py", "a busy worker keeps all others waiting",
        "        self._rotate()\n", "",
    ),
    Fault(
        "rings-no-sections", "exporter/rings.py", "a frame of garbage spoils the request",
        "    return found if position == len(payload) else []\n", "    return found\n",
    ),
    Fault(
        "record-types", "exporter/record.py", "a record of wrong types stops all starts",
        "        return record if _is_valid(record) else None\n", "        return record\n",
    ),
    Fault(
        "record-written-through", "exporter/record.py", "a planted link is written through",
        "    draft.unlink(missing_ok=True)\n    try:\n        with open(open_own(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)",
        "    try:\n        with open(open_own(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)",
    ),
    Fault(
        "record-old-worker", "exporter/record.py", "a worker of before a reload puts its settings back",
        "        if found.since > record.since or found == same:\n", "        if found == same:\n",
    ),
    Fault(
        "page-one-at-a-time", "exporter/page.py", "a client that stalls keeps the others waiting",
        "                _thread(self._handle, connection).start()\n",
        "                self._handle(connection)\n",
    ),
    Fault(
        "page-trickle", "exporter/page.py", "a client keeps its place by a byte now and then",
        "        connection.settimeout(left)\n        part",
        "        connection.settimeout(MAX_WAIT)\n        deadline = time.monotonic() + MAX_WAIT\n        part",
    ),
    Fault(
        "page-accept-once", "exporter/page.py", "the lack of a descriptor ends the page",
        "                self._stopped.wait(PAUSE)\n                continue\n", "                return\n",
    ),
    Fault(
        "page-cut-off", "exporter/page.py", "a page that was cut off is served",
        '        raise ValueError("the page is incomplete")\n', "        pass\n",
    ),
    Fault(
        "wake-file-written", "exporter/wake.py", "the wake-up is written into a file",
        "    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):\n", "    if False:\n",
    ),
    Fault(
        "wake-other-number", "exporter/wake.py", "a wake-up is written into another file",
        "            os.dup2(pipe, self._pipe, inheritable=False)\n            os.close(pipe)\n",
        "            os.close(self._pipe)\n            self._pipe = pipe\n",
    ),
    Fault(
        "wake-blocks", "exporter/wake.py", "a full pipe blocks a request",
        "os.O_RDWR | os.O_NONBLOCK", "os.O_RDWR",
    ),
    Fault(
        "counts-start-again", "exporter/counts.py", "counts fall when the exporter is replaced",
        "            doubles[index] += amount\n", "            doubles[index] = amount\n",
    ),
    Fault(
        "counts-left-open", "exporter/counts.py", "an exporter that ended goes on counting",
        "        self._book.detach()\n", "        return\n",
    ),
    Fault(
        "failures-first-attempt", "exporter/failures.py", "each restart of a collector costs a line",
        "MIN_ATTEMPTS = 2", "MIN_ATTEMPTS = 1",
    ),
    Fault(
        "failures-every-line", "exporter/failures.py", "each failure is logged",
        "            self._next = now + INTERVAL\n", "",
    ),
    Fault(
        "last-error-restart", "exporter/last_error.py", "a restarted exporter resolves no error",
        "self._last = read_last_error(folder, signal)", "self._last: LastError | None = None",
    ),
    Fault(
        "session-redirect", "exporter/session.py", "a redirect counts as delivered",
        "        _refuse_redirect(response)\n", "", ("exporter/clients",),
    ),
    Fault(
        "session-share-of-time", "exporter/session.py", "a silent address takes the time of the others",
        " / (len(addresses) - number)", "",
    ),
    Fault(
        "session-first-address", "exporter/session.py", "a dead address of two fails the export",
        "                failure = error\n", "                raise NewConnectionError(self, str(error)) from error\n",
    ),
    Fault(
        "pusher-traced", "exporter/pusher.py", "a push is traced as a request of the application",
        '        context.attach(context.set_value("suppress_instrumentation", True))\n', "",
    ),
    Fault(
        "pusher-after-deadline", "exporter/pusher.py", "an exporter that is replaced pushes again",
        "        if self._deadline > time.monotonic():\n", "        if True:\n",
    ),
    Fault(
        "pusher-left-open", "exporter/pusher.py", "connections stay open at the end",
        "                client.close()\n", "                continue\n",
    ),
    Fault(
        "continuity-cut-line", "exporter/continuity.py", "a line that was cut off stops all pushes",
        "            ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError\n",
        "            KeyError, TypeError, AttributeError\n",
    ),
    Fault(
        "bootstrap-kept-open", "exporter/bootstrap.py", "the port of the server is held",
        "        if number > 2 and number != keep:\n", "        if number > 2 and number > keep + 2:\n",
    ),
    Fault(
        "bootstrap-application-first", "exporter/bootstrap.py", "modules of the application are imported",
        "    return [*own, here]\n", "    return [here, *own]\n", ("exporter/process",),
    ),
    Fault(
        "launch-lock-leaked", "exporter/launch.py", "no exporter starts after one that ended",
        "            lock, self.lock = self.lock, CLOSED\n", "            lock = self.lock\n",
    ),
    Fault(
        "launch-reaped-elsewhere", "exporter/launch.py", "two exporters share one lock",
        "    except ChildProcessError:\n        return", "    except KeyError:\n        return",
        ("exporter/process",),
    ),
    Fault(
        "record-note-grows", "exporter/record.py", "an exporter needs space to start again",
        "str(starts).ljust(COUNT_WIDTH)", "str(starts)", ("exporter/service", "exporter/launch"),
    ),
    Fault(
        "launch-any-program", "exporter/launch.py", "uWSGI is started as an exporter",
        'return name.startswith(("python", "pypy"))', "return True",
    ),
    Fault(
        "launch-late", "exporter/launch.py", "spans are lost without a line in the log",
        "(is_late or not is_complete) and waiting_items(self._folder)", "False",
    ),
    Fault(
        "launch-killed-at-the-end", "exporter/launch.py", "an exporter killed at the end is not replaced",
        "            if is_complete:\n", "            if True:\n",
    ),
    Fault(
        "pusher-untried", "exporter/pusher.py", "a push that nothing tried counts as failed",
        "        if deadline - time.monotonic() <= MIN_TIMEOUT:\n            return False",
        "        if False:\n            return False",
    ),
    Fault(
        "service-idle-server", "exporter/service.py", "a slow reload ends the exporter",
        "(masters and not is_ending)", "False",
    ),
    Fault(
        "service-settings-kept", "exporter/service.py", "a reload does not reach the exporter",
        "                return CHANGED\n", "                pass\n",
    ),
    Fault(
        "service-lock-lost", "exporter/service.py", "two exporters run once the lock was removed",
        "            return REPLACED\n        now", "            pass\n        now",
    ),
    Fault(
        "process-signal-ends", "exporter/process.py", "SIGTERM to the group loses the last spans",
        "signal.signal(number, lambda number, frame: ended.set())", "signal.signal(number, signal.SIG_DFL)",
    ),
    Fault(
        "recording-stays-lost", "runtime/recording.py", "spans go into a ring that was removed",
        "            self.open()\n            ring.close()\n", "            self._ring = ring\n",
    ),
    Fault(
        "recording-parents-ring", "runtime/recording.py", "a child writes into its parent's ring",
        "            ring.forget()\n", "            continue\n",
    ),
    Fault(
        "export-of-exports", "logs/export.py", "a failed export exports its own failure",
        "            if not _is_caused_by_export(record):\n", "            if True:\n",
    ),
    Fault(
        "log-encoder-span", "logs/encoder.py", "a log record does not belong to its span",
        '        parts.append(b"\\x52\\x08" + context.span_id.to_bytes(8, "big"))\n', "        pass\n",
    ),
)  # fmt: skip

FAULTS = (
    *STORE, *WSGI, *TRACING, *EXPORT, *RING, *EXPORTER, *PROCESS, *CONFIG, *SCRAPE, *PUSH, *PROBES, *CLI,
    *CLIENT, *LOGS,
)  # fmt: skip
