#!/usr/bin/env python3
"""Counts the usage in an access log of the combined format, independently of Usance.

    count.py MAP ROBOTS LOG[.gz] > expected.tsv

Applies the same rules by other means: GET with status 200 or 304; COUNTER's robots;
of the clicks of one address and user agent on one item, those that another follows
within 30 seconds do not count. Prints a table per licence, day (UTC) and usage type.
Standard library only. Understands the maps without hosts and queries.
"""

import collections
import datetime
import gzip
import json
import re
import sys
import urllib.parse

LINE = re.compile(
    r'(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] '
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?:\d+|-) '
    r'"(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)"'
)


def read_map(path):
    rules = []
    for line in open(path, encoding="utf-8"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        expression = ""
        for part in re.split(r"(\*\*|\*)", words[0]):
            expression += {"**": ".*", "*": "[^/]*"}.get(part) or re.escape(urllib.parse.unquote(part))
        options = dict(word.split("=", 1) for word in words[3:])
        rules.append((re.compile(expression), words[1], words[2], options.get("asset")))
    return rules


def main(map_path, robots_path, log_path):
    rules = read_map(map_path)
    robots = [re.compile(entry["pattern"], re.IGNORECASE) for entry in json.load(open(robots_path, encoding="utf-8"))]
    is_robot = {}
    table = collections.defaultdict(collections.Counter)
    clicks = collections.defaultdict(list)

    opened = gzip.open(log_path, "rt", encoding="utf-8", errors="replace", newline="\n") if log_path.endswith(".gz") \
        else open(log_path, encoding="utf-8", errors="replace", newline="\n")
    for line in opened:
        found = LINE.match(line)
        if not found:
            continue
        method, _, rest = found["request"].partition(" ")
        if method != "GET" or found["status"] not in ("200", "304"):
            continue
        target = urllib.parse.unquote(rest.split(" ")[0].partition("?")[0])
        rule = next((rule for rule in rules if rule[0].fullmatch(target)), None)
        if rule is None:
            continue
        _, licence, usage_type, asset = rule
        time = datetime.datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").astimezone(datetime.timezone.utc)
        cell = (licence, time.date().isoformat(), usage_type)
        table[cell]["gross"] += 1
        agent = found["agent"]
        if agent not in is_robot:
            is_robot[agent] = any(robot.search(agent) for robot in robots)
        if is_robot[agent]:
            table[cell]["robots"] += 1
        else:
            clicks[licence, usage_type, asset or target, found["client"], agent].append((time, cell))

    # Backwards from the last click: what lies within 30 seconds before the click
    # that was looked at before it is a double click.
    for series in clicks.values():
        after = None
        for time, cell in sorted(series, reverse=True):
            if after is not None and (after - time).total_seconds() <= 30:
                table[cell]["double_clicks"] += 1
            else:
                table[cell]["counted"] += 1
            after = time

    columns = ("gross", "robots", "double_clicks", "counted")
    print("licence", "day", "usage_type", *columns, sep="\t")
    for cell in sorted(table):
        print(*cell, *(table[cell][column] for column in columns), sep="\t")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
