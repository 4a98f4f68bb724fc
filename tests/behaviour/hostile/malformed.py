"""Byte sequences that are no HTTP/1.1 requests, or whose end two parsers could see differently. Made from the grammar of
RFC 9112 and from what is known of request smuggling, not from the parser that they are for.

MALFORMED is a list of rows: a name, the bytes, and which statuses are a right answer. Each must get one answer, and the
connection must end with it.
"""
import itertools
import typing


class Row(typing.NamedTuple):
    name: str
    data: bytes
    statuses: tuple = (400,)


CHAT = b"/openai/deployments/gpt-4o/chat/completions"
PATHS = (CHAT, b"/v1/chat/completions", b"/v1/files", b"/nothing/here", b"/healthz")
HOST = b"Host: lb\r\n"
END = b"\r\n"
CONTROLS = [bytes([c]) for c in (*range(0x20), 0x7f) if c not in b"\t\r\n"]
NOT_IN_TOKENS = [bytes([c]) for c in b'"(),/;<=>?@[\\]{}'] + [b"\x80", b"\xa0", b"\xad", b"\xc3\xa9", b"\xff", b"\xef\xbb\xbf"]
NEXT_PATH = itertools.cycle(PATHS)
MALFORMED = []


def add(name, data, *statuses):
    MALFORMED.append(Row(name, data, statuses or (400,)))


def line(method=b"POST", target=CHAT, version=b"HTTP/1.1", end=END):
    return method + b" " + target + b" " + version + end


def show(data):
    """Bytes as a test's name has them."""
    text = data[:60].decode("latin-1").encode("unicode_escape").decode()
    return text + ("…" if len(data) > 60 else "")


def with_fields(name, fields, *statuses, body=b""):
    """The fields behind Host, on each path in turn: a head is judged before its path is."""
    target = next(NEXT_PATH)
    add(f"{name} at {target.decode()}", line(target=target) + HOST + fields + END + body, *statuses)


# ---- the request line

for char in CONTROLS:
    add(f"control byte {char!r} in the method", line(method=b"PO" + char + b"ST") + HOST + END)
    add(f"control byte {char!r} in the target", line(target=CHAT + char) + HOST + END)
    add(f"control byte {char!r} behind the version", line(version=b"HTTP/1.1" + char) + HOST + END)
for char in NOT_IN_TOKENS:
    add(f"{char!r} in the method", line(method=b"PO" + char + b"ST") + HOST + END)
for char in (b"\x80", b"\xc3\xa9", b"\xff", b"\xe2\x80\xae"):
    add(f"{char!r} in the target", line(target=CHAT + char) + HOST + END)
    add(f"{char!r} in the query", line(target=CHAT + b"?x=" + char) + HOST + END)
for name, first in {
        "no method": b" " + CHAT + b" HTTP/1.1\r\n",
        "no target": b"POST HTTP/1.1\r\n",
        "no target but two spaces": b"POST  HTTP/1.1\r\n",
        "no version": b"POST " + CHAT + b"\r\n",
        "no version but a space": b"POST " + CHAT + b" \r\n",
        "HTTP/0.9": b"GET /healthz\r\n",
        "a method alone": b"POST\r\n",
        "two spaces before the target": b"POST  " + CHAT + b" HTTP/1.1\r\n",
        "two spaces before the version": b"POST " + CHAT + b"  HTTP/1.1\r\n",
        "a tab before the target": b"POST\t" + CHAT + b" HTTP/1.1\r\n",
        "a tab before the version": b"POST " + CHAT + b"\tHTTP/1.1\r\n",
        "tabs everywhere": b"POST\t" + CHAT + b"\tHTTP/1.1\r\n",
        "a leading space": b" POST " + CHAT + b" HTTP/1.1\r\n",
        "a leading tab": b"\tPOST " + CHAT + b" HTTP/1.1\r\n",
        "a trailing space": b"POST " + CHAT + b" HTTP/1.1 \r\n",
        "a trailing tab": b"POST " + CHAT + b" HTTP/1.1\t\r\n",
        "a word behind the version": b"POST " + CHAT + b" HTTP/1.1 x\r\n",
        "a space inside the target": b"POST " + CHAT + b" x HTTP/1.1\r\n",
        "a second request line inside": b"POST " + CHAT + b" HTTP/1.1 GET /healthz HTTP/1.1\r\n",
        "two leading empty lines": b"\r\n\r\nPOST " + CHAT + b" HTTP/1.1\r\n",
        "three leading empty lines": b"\r\n\r\n\r\nPOST " + CHAT + b" HTTP/1.1\r\n",
        "a leading bare LF": b"\nPOST " + CHAT + b" HTTP/1.1\r\n",
        "a leading bare CR": b"\rPOST " + CHAT + b" HTTP/1.1\r\n",
        "a leading CR CR LF": b"\r\r\nPOST " + CHAT + b" HTTP/1.1\r\n",
        "a leading LF CR": b"\n\rPOST " + CHAT + b" HTTP/1.1\r\n",
        "a leading NUL": b"\0POST " + CHAT + b" HTTP/1.1\r\n",
        "a byte order mark": b"\xef\xbb\xbfPOST " + CHAT + b" HTTP/1.1\r\n",
        "quotes around the target": b'POST "' + CHAT + b'" HTTP/1.1\r\n'}.items():
    add(f"request line: {name}", first + HOST + END)
for version in (b"http/1.1", b"Http/1.1", b"HTTP/1.1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/11", b"HTTP/1", b"HTTP/1.",
                b"HTTP/.1", b"HTTP/", b"HTTP", b"HTTP/a.b", b"HTTP/1.a", b"HTTP/1,1", b"HTTP/1:1", b"HTTP/ 1.1", b"HTTP/1 .1",
                b"HTTP/1. 1", b"HTTP/+1.1", b"HTTP/-1.1", b"HTTP/1.-1", b"HTTP\\1.1", b"HTTP-1.1", b"HTTPS/1.1", b"XHTTP/1.1",
                b"HTTP//1.1", b"HTTP/1.1/", b"HTTP/1.1;q=1", b"HTTP/1.1,HTTP/1.1", b"ICY/1.1", b"RTSP/1.0", b"SIP/2.0",
                b"HTTP/\xd9\xa1.1", b"HTTP/1.\xb9", b"1.1", b"HTTP/0x1.1", b"HTTP/1.1\0", b"\0HTTP/1.1"):
    add(f"version {version!r}", line(version=version) + HOST + END)
for version in (b"HTTP/0.9", b"HTTP/0.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2.1", b"HTTP/3.0", b"HTTP/9.9"):
    add(f"unknown version {version!r}", line(version=version) + HOST + END, 505)

# ---- targets

for target in (b"openai/files", b"v1/files", b"lb", b"lb:80", b"?x", b"#", b"#/v1/files", b"&", b".", b"..", b"~", b"\\", b"\\openai\\files",
               b"http:", b"http:/", b"http://", b"http:///v1/files", b"https://", b"https:///v1/files", b"http:v1/files", b"http:/v1/files",
               b"ftp://lb/v1/files", b"file:///etc/passwd", b"gopher://lb/v1/files", b"ws://lb/v1/files", b"javascript:alert(1)",
               b"data:text/plain,x", b"about:blank", b"urn:x:y", b"http+unix://lb/v1/files", b"h2c://lb/v1/files", b"://lb/v1/files",
               b"http://user@lb/v1/files", b"http://user:pass@lb/v1/files", b"http://@lb/v1/files", b"http://lb:999999/v1/files",
               b"http://lb:x/v1/files", b"http://lb:-1/v1/files", b"http://lb:+80/v1/files", b"http://lb:80:80/v1/files",
               b"http://[::1/v1/files", b"http://::1]/v1/files", b"http://[]/v1/files", b"http://[::1]x/v1/files", b"http://lb\\v1\\files",
               b"http://lb,lb/v1/files", b"http://lb#/v1/files", b"http://lb\"/v1/files", b"http://:80/v1/files", b"http://a^b/v1/files",
               b"/v1/files#x", b"/v1/files?x#y", b"/v1/files?%", b"/v1/files?%2", b"/v1/files?%zz", b"/v1/files?x=%%41", b"*x", b"**"):
    add(f"target {show(target)}", line(target=target) + HOST + END)
for segment in (b"..", b".", b"%2e%2e", b"%2E%2E", b"%2e.", b".%2e", b".%2E", b"%2e", b"%2E", b"a%2fb", b"a%2Fb", b"%2f", b"..%2f", b"%2e%2e%2f",
                b"..%5c", b"a%5cb", b"a%5Cb", b"a\\b", b"..\\", b"\\..", b"a%00b", b"%00", b"a%zz", b"a%2", b"a%", b"%g0", b"%0g", b"%%35%63",
                b"%u002e", b"a%+41", b"a% 41", b"a%-1", b"%2e%2e\\", b"a#b"):
    add(f"segment {show(segment)} in the middle", line(target=b"/openai/deployments/" + segment + b"/chat/completions") + HOST + END)
    add(f"segment {show(segment)} at the end", line(method=b"GET", target=b"/openai/v1/files/" + segment) + HOST + END)
for target in (b"/../openai/files", b"//../openai/files", b"/./v1/files", b"/v1/../../etc/passwd", b"/v1//..//..//x", b"/..", b"/.", b"/v1/files/..?x",
               b"http://lb/../v1/files", b"http://lb/v1/%2e%2e/files"):
    add(f"path {show(target)}", line(target=target) + HOST + END)

# ---- the names of fields

for field, value in ((b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked"), (b"Host", b"other"), (b"Authorization", b"Bearer x"),
                     (b"X-Custom", b"y")):
    for name in (field + b" ", field + b"\t", field + b"  ", field + b" \t", b" " + field, b"\t" + field, field[:4] + b" " + field[4:],
                 field[:4] + b"\t" + field[4:], field + b"\0", b"\0" + field, field[:4] + b"\0" + field[4:], field + b"\r", field + b"\x0b",
                 b"\x0b" + field, field + b"\x0c", field + b"\x1f", field + b"\x7f", field + b"\x80", field + b"\xa0", field + b"\xc2\xa0",
                 b"\xef\xbb\xbf" + field, b'"' + field + b'"', b"(" + field + b")", field + b";", field + b",", field + b"=", field + b"/",
                 field + b"\\", field + b"@", field + b"[]", b"{" + field + b"}", field.replace(b"-", b"\xad") + b"\xad"):
        with_fields(f"name {name!r}", name + b": " + value + END)
for char in CONTROLS + NOT_IN_TOKENS:
    with_fields(f"{char!r} in a name", b"X" + char + b"Y: z\r\n")
    if char != b"\0":
        with_fields(f"{char!r} for a name", char + b": z\r\n")
for name, fields in {
        "an empty name": b": x\r\n", "an empty name and value": b":\r\n", "two colons in front": b":: x\r\n",
        "a blank name": b" : x\r\n", "a tab for a name": b"\t: x\r\n", "no colon": b"X\r\n", "no colon but a space": b"X y\r\n",
        "no colon but equals": b"X=y\r\n", "Content-Length without a colon": b"Content-Length 2\r\n",
        "Transfer-Encoding without a colon": b"Transfer-Encoding chunked\r\n", "a request line among the fields": b"GET /healthz HTTP/1.1\r\n",
        "a status line among the fields": b"HTTP/1.1 200 OK\r\n", "NUL for a line": b"\0\r\n", "a space for a line": b" \r\n",
        "a tab for a line": b"\t\r\n", "a semicolon for a colon": b"X; y\r\n", "a wide colon": b"X\xef\xbc\x9a y\r\n"}.items():
    with_fields(name, fields)

# ---- their values

for char in CONTROLS:
    with_fields(f"control byte {char!r} in a value", b"X: a" + char + b"b\r\n")
    with_fields(f"control byte {char!r} ends a value", b"X: a" + char + b"\r\n")
with_fields("control byte begins a value", b"X:\x01a\r\n")
for value in (b"", b" ", b"\t", b"+2", b"-2", b"+0", b"-0", b"- 2", b"0x2", b"0X2", b"x2", b"2x", b"2 2", b"2\t2", b"2,2", b"2, 2", b"2 ,2",
              b"2;2", b"2;", b";2", b"2,", b",2", b", 2", b"2.0", b"2.", b".2", b"2e0", b"2E0", b"2_0", b"0b10", b"0o2", b"2L", b"2u", b"two",
              b"NaN", b"inf", b"null", b"true", b"*", b"2*1", b"1+1", b"'2'", b'"2"', b"(2)", b"[2]", b"{2}", b"<2>", b"$2", b"%32", b"2%00", b"\\2",
              b"2\\", b"=2", b"2=", b"2:", b":2", b"2/3", b"bytes 2", b"2 bytes", b"\xef\xbc\x92", b"\xd9\xa2", b"\xb2", b"2\xa0", b"\xa02",
              b"\xc2\xa02", b"2\x85", b"\xef\xbb\xbf2", b"\xff", b"18446744073709551615", b"18446744073709551616", b"18446744073709551618",
              b"36893488147419103234", b"184467440737095516160", b"9" * 20, b"9" * 100, b"1" + b"0" * 1000, b"340282366920938463463374607431768211458"):
    with_fields(f"Content-Length: {show(value)}", b"Content-Length: " + value + END, body=b"{}")
for value in (b"33554433", b"99999999999", b"2147483648", b"4294967296", b"4294967298", b"9223372036854775807", b"9223372036854775808",
              b"18446744073709551614", b"0" * 20 + b"99999999999"):
    add(f"more than any body may have: Content-Length: {value.decode()}", line() + HOST + b"Content-Length: " + value + END + END, 413)
CODINGS = (b"", b" ", b"\t", b"chunked, chunked", b"chunked,chunked", b"CHUNKED, chunked", b"chunked;q=1", b"chunked; q=1", b"chunked;", b"chunked ;a=b",
           b"identity", b"Identity", b"identity, chunked", b"chunked, identity", b"chunked,identity,chunked", b"gzip", b"gzip, chunked",
           b"chunked, gzip", b"deflate", b"br", b"zstd", b"compress", b"x-gzip, chunked", b"trailers", b"chunked, trailers", b"xchunked", b"x-chunked",
           b"chunkedx", b"chunk", b"chunke", b"chunked1", b"chunked,", b",chunked", b", chunked", b"chunked ,", b"chunked,,", b",", b",,", b'"chunked"',
           b"'chunked'", b"(chunked)", b"chunked (x)", b"<chunked>", b"chunked chunked", b"chunked identity", b"identity chunked", b"chunked\tidentity",
           b"chu\tnked", b"chu nked", b"chunked/1", b"chunked=1", b"=chunked", b"chunked:", b":chunked", b"chunked\\", b"\\chunked", b"%63hunked",
           b"chunked\xa0", b"\xa0chunked", b"chunked\x85", b"ch\xffnked", b"chunk\xd0\xb5d", b"\xef\xbb\xbfchunked", b"null", b"true", b"1", b"0", b"*",
           b"cow", b"x" * 5000)
for value in CODINGS:
    with_fields(f"Transfer-Encoding: {show(value)}", b"Transfer-Encoding: " + value + END, body=b"0\r\n\r\n")
for value in (b"\x0bchunked", b"chunked\x0b", b"\x0cchunked", b"chunked\0", b"\0chunked", b"chunked\x01", b"chunked\x7f", b"chunked\x1f"):
    with_fields(f"Transfer-Encoding: {value!r}", b"Transfer-Encoding: " + value + END, body=b"0\r\n\r\n")
add("Transfer-Encoding in HTTP/1.0", line(version=b"HTTP/1.0") + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
add("Transfer-Encoding in HTTP/1.0 that is kept alive",
    line(version=b"HTTP/1.0") + HOST + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

# ---- contradictions and repetitions

for coding in (b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:chunked\r\n", b"TRANSFER-ENCODING: CHUNKED\r\n",
               b"Transfer-Encoding:\tchunked\t\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\n",
               b"Transfer-Encoding:\r\n"):
    for length in (b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n", b"Content-Length: 000\r\n"):
        for fields in (coding + length, length + coding, coding + b"X: y\r\n" + length, length + b"X: y\r\n" + coding):
            with_fields(f"contradiction {show(fields)}", fields, body=b"0\r\n\r\n")
for values in ((b"2", b"2"), (b"2", b"3"), (b"3", b"2"), (b"0", b"2"), (b"2", b"0"), (b"0", b"0"), (b"2", b""), (b"", b"2"), (b"02", b"2"), (b"2", b"+2"),
               (b"2", b"2", b"2"), (b"2", b"3", b"2"), (b"2, 2", b"2"), (b"2", b"x")):
    fields = b"".join(b"Content-Length: " + value + END for value in values)
    with_fields(f"Content-Length repeated: {values}", fields, body=b"{}")
    with_fields(f"Content-Length repeated, apart: {values}", fields.replace(END, b"\r\nX: y\r\n", 1), body=b"{}")
with_fields("Content-Length repeated in other case", b"Content-Length: 2\r\ncontent-length: 2\r\n", body=b"{}")
for values in ((b"chunked", b"chunked"), (b"chunked", b"identity"), (b"identity", b"chunked"), (b"gzip", b"chunked"), (b"chunked", b""), (b"", b"chunked"),
               (b"chunked", b"cow"), (b"chunked", b"chunked", b"chunked")):
    fields = b"".join(b"Transfer-Encoding: " + value + END for value in values)
    with_fields(f"Transfer-Encoding repeated: {values}", fields, body=b"0\r\n\r\n")
    with_fields(f"Transfer-Encoding repeated, apart: {values}", fields.replace(END, b"\r\nX: y\r\n", 1), body=b"0\r\n\r\n")
for hosts in (b"", b"X: y\r\n", HOST * 2, HOST * 3, HOST + b"Host: other\r\n", HOST + b"host: lb\r\n", HOST + b"HOST:\r\n", b"Host:\r\n" + HOST,
              b"X: y\r\n" + HOST + b"Z: y\r\n" + HOST):
    add(f"hosts {show(hosts)}", line() + hosts + END)
    add(f"hosts {show(hosts)} of an absolute target", line(target=b"http://lb" + CHAT) + hosts + END)
for value in (b"", b" ", b"a b", b"a,b", b"a, b", b"a/b", b"/", b"user@a", b"u:p@a", b"a:b", b"a:80:80", b"a:999999", b"a:-1", b"a:+1", b"a: 80", b"a:0x50", b":80",
              b":", b"[::1", b"::1", b"[::1]x", b"[::1]:x", b"[]", b"[]:80", b"[", b"]", b"a\\b", b"a?b", b"a#b", b'a"b', b"<a>", b"{a}", b"a|b", b"a^b", b"a`b",
              b"http://lb", b"http://lb/", b"a\xe9", b"\xff", b"a\tb"):
    add(f"Host: {value!r}", line() + b"Host: " + value + END + END)
for field in (b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"host", b"Authorization", b"api-key", b"API-KEY",
              b"Ocp-Apim-Subscription-Key"):
    for value in (field, b"close, " + field, field + b",close", b" ,\t" + field + b"\t,", b"x,keep-alive," + field):
        with_fields(f"Connection: {show(value)}", b"Connection: " + value + END)
    with_fields(f"a second Connection: {field.decode()}", b"Connection: keep-alive\r\nConnection: " + field + END)

# ---- ends of lines, folding

ENDS = {"LF": b"\n", "CR": b"\r", "LF CR": b"\n\r", "CR CR LF": b"\r\r\n", "LF LF": b"\n\n", "CR CR": b"\r\r", "NUL CR LF": b"\0\r\n", "CR NUL LF": b"\r\0\n",
        "CR space LF": b"\r \n", "VT": b"\x0b", "FF": b"\x0c", "CR tab LF": b"\r\t\n", "VT CR LF": b"\x0b\r\n"}
for name, end in ENDS.items():
    add(f"{name} ends the request line", line(end=end) + HOST + END)
    add(f"{name} ends Host", line() + b"Host: lb" + end + b"X: y\r\n\r\n")
    add(f"{name} ends Content-Length", line() + HOST + b"Content-Length: 2" + end + b"X: y\r\n\r\n{}")
    add(f"{name} ends the last field", line() + HOST + b"X: y" + end + END)
    add(f"{name} ends the head", line() + HOST + b"X: y\r\n" + end + b"Content-Length: 0\r\n\r\n")
    add(f"{name} between a name and its value", line() + HOST + b"X:" + end + b"y\r\n\r\n")
add("only LF", b"POST " + CHAT + b" HTTP/1.1\nHost: lb\nContent-Length: 0\n\n")
add("only CR", b"POST " + CHAT + b" HTTP/1.1\rHost: lb\rContent-Length: 0\r\r")
for fold in (b"\r\n ", b"\r\n\t", b"\r\n  ", b"\r\n \t", b"\r\n \r\n "):
    for field, value in ((b"X", b"y"), (b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked"), (b"Host", b"lb")):
        head = line() + (b"" if field == b"Host" else HOST)
        add(f"{fold!r} before the value of {field.decode()}", head + field + b":" + fold + value + END + END)
        add(f"{fold!r} behind the value of {field.decode()}", head + field + b": " + value + fold + END + END)
        add(f"{fold!r} behind the name {field.decode()}", head + field + fold + b": " + value + END + END)
    add(f"{fold!r} before the first field", line() + fold[2:] + HOST + END)
    add(f"{fold!r} inside the request line", b"POST " + CHAT + fold + b"HTTP/1.1\r\n" + HOST + END)
    add(f"{fold!r} before a coding behind a length", line() + HOST + b"Content-Length: 2\r\nX: y" + fold + b"Transfer-Encoding: chunked\r\n\r\n{}")

# ---- chunks

CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK_PATHS = (CHAT, b"/v1/chat/completions", b"/openai/v1/files")
NEXT_CHUNK_PATH = itertools.cycle(CHUNK_PATHS)


def chunks(name, body, *statuses):
    target = next(NEXT_CHUNK_PATH)
    add(f"{name} at {target.decode()}", line(target=target) + HOST + CHUNKED + END + body, *statuses)


for size in (b"", b" ", b"0x2", b"0X2", b"x2", b"2x", b"+2", b"-2", b"+0", b"-0", b"0x0", b"0x", b" 2", b"\t2", b"2 ", b"2\t", b"2  ", b"1 2", b"2 2", b"g", b"2g", b"2h",
             b"2_0", b"2.0", b"2.", b".2", b"2,2", b"2,", b"2:", b"2=", b"=2", b"2L", b"2u", b"'2'", b'"2"', b"(2)", b"[2]", b"<2>", b"$2", b"%32", b"\\2", b"2\\",
             b"2\\r", b"*", b"2*", b"2/2", b"2#", b"2\0", b"\0002", b"2\x0b", b"2\x0c", b"\x0b2", b"2\x01", b"2\x7f", b"2\x80", b"2\xa0", b"\xa02", b"\xb2", b"\xef\xbb\xbf2",
             b"\xef\xbc\x92", b"\xd9\xa2", b"2\r2", b"2\r", b"\r2", b"00000000000000002", b"0" * 16 + b"2", b"0" * 100 + b"2", b"0" * 4000 + b"2",
             b"10000000000000002", b"100000000000000000000000000000002", b"fffffffffffffffff", b"f" * 4000, b"f" * 5000, b"two", b"-1", b"Content-Length: 2", b"HTTP/1.1"):
    # One that comes in pieces is too large before it is too long.
    verdicts = (400, 413) if size[:16] in (b"1" + b"0" * 15, b"f" * 16) else ()
    chunks(f"chunk size {show(size)}", size + b"\r\n{}\r\n0\r\n\r\n", *verdicts)
    if size[:1] != b"f" and b"2" in size:
        chunks(f"second chunk's size {show(size)}", b"1\r\n{\r\n" + size + b"\r\n{}\r\n0\r\n\r\n", *verdicts)
for size in (b"ffffffffffffffff", b"FFFFFFFFFFFFFFFE", b"8000000000000000", b"7fffffffffffffff", b"100000000", b"ffffffff", b"80000000", b"2000001"):
    for target in CHUNK_PATHS[:2]:
        add(f"more than any body may have: chunk {size.decode()} at {target.decode()}",
            line(target=target) + HOST + CHUNKED + END + size + b"\r\n{}", 413)
    add(f"more than any body may have: second chunk {size.decode()}", line() + HOST + CHUNKED + END + b"1\r\n{\r\n" + size + b"\r\n{}", 413)
for name, body in {
        "LF behind the size": b"2\n{}\r\n0\r\n\r\n", "CR behind the size": b"2\r{}\r\n0\r\n\r\n", "LF CR behind the size": b"2\n\r{}\r\n0\r\n\r\n",
        "CR CR LF behind the size": b"2\r\r\n{}\r\n0\r\n\r\n", "LF behind the data": b"2\r\n{}\n0\r\n\r\n", "CR behind the data": b"2\r\n{}\r0\r\n\r\n",
        "LF CR behind the data": b"2\r\n{}\n\r0\r\n\r\n", "CR CR LF behind the data": b"2\r\n{}\r\r\n0\r\n\r\n", "nothing behind the data": b"2\r\n{}0\r\n\r\n",
        "a byte too many": b"2\r\n{}}\r\n0\r\n\r\n", "a byte too few": b"2\r\n{\r\n0\r\n\r\n", "two bytes too many": b"2\r\n{}xx\r\n0\r\n\r\n",
        "a space behind the data": b"2\r\n{} \r\n0\r\n\r\n", "NUL behind the data": b"2\r\n{}\0\r\n0\r\n\r\n", "an empty line in front": b"\r\n2\r\n{}\r\n0\r\n\r\n",
        "an empty line between": b"2\r\n{}\r\n\r\n0\r\n\r\n", "a bare LF in front": b"\n2\r\n{}\r\n0\r\n\r\n", "no chunks at all": b"{}\r\n\r\n",
        "a length in front": b"Content-Length: 2\r\n\r\n{}", "only LF": b"2\n{}\n0\n\n", "only CR": b"2\r{}\r0\r\r", "LF behind the last size": b"0\n\r\n",
        "CR CR LF behind the last size": b"0\r\r\n\r\n", "LF ends the body": b"0\r\n\n", "LF LF ends the body": b"0\n\n", "CR CR LF ends the body": b"0\r\n\r\r\n",
        "CR and a letter end the body": b"0\r\n\rX", "a space ends the body": b"0\r\n \r\n", "a tab ends the body": b"0\r\n\t\r\n", "NUL ends the body": b"0\r\n\0\r\n",
        "a sign at the end": b"2\r\n{}\r\n-0\r\n\r\n", "0x0 at the end": b"2\r\n{}\r\n0x0\r\n\r\n", "a wide zero": b"2\r\n{}\r\n\xef\xbc\x90\r\n\r\n"}.items():
    chunks(f"chunks: {name}", body)
for extension in (b";a=\x01", b";\0", b";a=\0", b";a=\x7f", b";a=\x0b", b";a\rb", b";a=\"\r\"", b";a=b\rc=d", b"; a=\x1b[0m", b" a=b", b"\ta=b", b"a=b", b" ;a=\x02",
                  b";" + b"x" * 5000, b";a=\"" + b"x" * 5000 + b'"', b";a=b" * 1500, b"\r;a=b"):
    chunks(f"chunk extension {show(extension)}", b"2" + extension + b"\r\n{}\r\n0\r\n\r\n")
    chunks(f"last chunk's extension {show(extension)}", b"2\r\n{}\r\n0" + extension + b"\r\n\r\n")
for extension in (b";a\n", b";a=b\nc", b";a=\"\n\"", b";\n", b";a=\n\r\n"):
    chunks(f"LF in a chunk extension {show(extension)}", b"2" + extension + b"\r\n{}\r\n0\r\n\r\n")
for trailer in (b"X : y", b"X\t: y", b"X", b"X y", b": y", b":", b" X: y", b"\tX: y", b"X\0: y", b"X: \0", b"X: \x01", b"X: y\x7f", b"X\xe9: y", b"X: a\rb", b"X: a\nb", b"X: a\n",
                b"(X): y", b'"X": y', b"X@: y", b"X: y\r\n folded", b"X: y\r\n\tfolded", b"\0", b"\x7f", b"Content-Length : 2", b"Transfer-Encoding\x0b: chunked",
                b"X: " + b"y" * 20_000, b"X: y\r\n" * 3000, b"y" * 20_000, b"X" * 20_000 + b": y", b"GET /healthz HTTP/1.1", b"X:y\x0b", b"X\r: y"):
    chunks(f"trailer {show(trailer)}", b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n")

# ---- sizes

add("a field of 70 kB", line() + HOST + b"X: " + b"y" * 70_000 + END + END, 431)
add("a name of 70 kB", line() + HOST + b"X" * 70_000 + b": y" + END + END, 431)
add("blanks of 70 kB", line() + HOST + b"X:" + b" " * 70_000 + b"y" + END + END, 431)
add("2000 fields", line() + HOST + b"X: y\r\n" * 2000 + END, 431)
add("20000 fields", line() + HOST + b"X: y\r\n" * 20_000 + END, 431)
add("a field of 1 MB", line() + HOST + b"X: " + b"y" * 1_000_000 + END + END, 431)
add("a head that never ends", line() + HOST + b"X: y\r\n" * 12_000, 431)
add("a target of 70 kB", line(target=b"/v1/" + b"x" * 70_000) + HOST + END, 414)
add("a query of 70 kB", line(target=CHAT + b"?x=" + b"y" * 70_000) + HOST + END, 414)
add("a target of 1 MB", line(target=b"/v1/" + b"x" * 1_000_000) + HOST + END, 414)
add("a request line that never ends", b"GET /v1/files?" + b"x" * 70_000, 414)
add("a method of 70 kB", line(method=b"X" * 70_000) + HOST + END, 400, 414)

# ---- other tongues

add("a TLS hello", b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03" + bytes(range(32, 64)) + b"\x20" + bytes(range(32)) + b"\0\x02\x13\x01")
add("an SSL 2 hello", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80" + b"\x07" * 16)
add("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505)
add("a PROXY line", b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n")
add("a PROXY line in front of a request", b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + line() + HOST + END)
add("a binary PROXY header", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb")
add("SMTP", b"EHLO example\r\n")
add("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n")
add("Redis", b"*1\r\n$4\r\nPING\r\n")
add("memcached", b"get x\r\nstats\r\n")
add("FTP", b"USER anonymous\r\nPASS x\r\n")
add("RTSP", b"OPTIONS rtsp://lb/x RTSP/1.0\r\nCSeq: 1\r\n\r\n")
add("SIP", b"INVITE sip:a@lb SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n")
add("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
add("JSON", b'{"model":"gpt-4o"}\r\n\r\n')
add("zeros", b"\0" * 100)
add("all bytes", bytes(range(256)))
add("all bytes but controls", bytes(range(32, 127)) + bytes(range(128, 256)) + b"\r\n")
