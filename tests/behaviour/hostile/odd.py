"""Requests that are odd but clear: rare forms that HTTP/1.1 allows, and that must work.

ODD is a list of rows: a name, the bytes, the bodies that the backend must be sent (one for each request that reaches it),
the answers' statuses, and whether the connection lives on. Everything here stands in RFC 9110 or RFC 9112.
"""
import typing

CHAT = b"/openai/deployments/gpt-4o/chat/completions"
HOST = b"Host: lb\r\n"
BODY = b'{"a":1}'
LENGTH = b"Content-Length: 7\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
ONE = b"7\r\n" + BODY + b"\r\n"


class Row(typing.NamedTuple):
    name: str
    data: bytes
    bodies: tuple = (BODY,)
    methods: tuple = ("POST",)  # of the answers that are to come, all of which must be a 200
    alive: bool = True
    absent: tuple = ()  # header fields that no backend may see
    present: tuple = ()  # and those that it must, as (name, value)
    target: str = None  # what the backend must be asked for


ODD = []


def add(name, data, *arguments, **more):
    ODD.append(Row(name, data, *arguments, **more))


def line(method=b"POST", target=CHAT, version=b"HTTP/1.1"):
    return method + b" " + target + b" " + version + b"\r\n"


def request(fields=b"", body=BODY, first=line(), host=HOST, framing=LENGTH):
    return first + host + framing + fields + b"\r\n" + body


def chunked(body, fields=b""):
    return request(fields, body, framing=CHUNKED)


# ---- lengths

for value in (b"7", b" 7", b"\t7", b"  \t 7", b"7 ", b"7\t", b" 7 \t ", b"07", b"0000007", b"0" * 50 + b"7"):
    add(f"Content-Length:{value!r}", request(framing=b"Content-Length:" + value + b"\r\n"))
for name in (b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh"):
    add(f"{name.decode()}", request(framing=name + b": 7\r\n"))
add("no body and no framing", request(body=b"", framing=b""), (b"",))
add("a length of 0", request(body=b"", framing=b"Content-Length: 0\r\n"), (b"",))
add("a length of 000", request(body=b"", framing=b"Content-Length: 000\r\n"), (b"",))
add("a body that looks like a last chunk", request(body=LAST, framing=b"Content-Length: 5\r\n"), (LAST,))
INNER = request()
add("a body that looks like a request", request(body=INNER, framing=b"Content-Length: %d\r\n" % len(INNER)), (INNER,))
add("a body of bare line feeds", request(body=b"\n\r\n\0\r\n\n", framing=b"Content-Length: 7\r\n"), (b"\n\r\n\0\r\n\n",))
add("a body in a GET", request(first=line(b"GET", b"/openai/v1/files")), methods=("GET",))
add("a body in a DELETE", request(first=line(b"DELETE", b"/openai/v1/files/f")), methods=("DELETE",))

# ---- chunks

for value in (b"chunked", b" chunked", b"\tchunked", b" Chunked", b" CHUNKED", b" chunked \t", b"chunKED"):
    add(f"Transfer-Encoding:{value!r}", request(body=ONE + LAST, framing=b"Transfer-Encoding:" + value + b"\r\n"))
for name in (b"transfer-encoding", b"TRANSFER-ENCODING"):
    add(f"{name.decode()}", request(body=ONE + LAST, framing=name + b": chunked\r\n"))
for size in (b"07", b"007", b"0" * 15 + b"7"):
    add(f"chunk size {size.decode()}", chunked(size + ONE[1:] + LAST))
TEN = b"0123456789"
for size in (b"a", b"A", b"0a", b"0A", b"000a"):
    add(f"chunk size {size.decode()} in hex", chunked(size + b"\r\n" + TEN + b"\r\n" + LAST), (TEN,))
for zero in (b"0", b"00", b"000", b"0" * 16):
    add(f"last chunk {zero.decode()}", chunked(ONE + zero + b"\r\n\r\n"))
add("a chunk for each byte", chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + LAST))
add("no chunk but the last", chunked(LAST), (b"",))
add("a chunk that looks like a last one", chunked(b"5\r\n" + LAST + b"\r\n" + LAST), (LAST,))
add("a chunk that looks like a request", chunked(b"%x\r\n%s\r\n" % (len(INNER), INNER) + LAST), (INNER,))
for extension in (b";a", b";a=b", b';a="b"', b" ;a=b", b"\t;a=b", b"; a=b", b";a;b;c", b";a=b;c=d", b';a="x;y"', b';a="\\""', b';a=""', b";a=\xe9",
                  b";", b";a=", b";" + b"x" * 4000, b';a="' + b"y" * 3900 + b'"', b';a="\t"', b";a=0", b";chunked", b";Content-Length=5"):
    add(f"extension {extension[:30]!r}", chunked(b"7" + extension + b"\r\n" + BODY + b"\r\n" + LAST))
    add(f"extension {extension[:30]!r} of the last chunk", chunked(ONE + b"0" + extension + b"\r\n\r\n"))
for trailer in (b"X-Trailer: y", b"X-Trailer:", b"X-Trailer:y", b"X-Trailer: \xe9", b"X-Trailer: a\r\nX-Trailer: b", b"Content-Length: 5",
                b"Transfer-Encoding: chunked", b"Host: elsewhere", b"Authorization: Bearer trailing", b"api-key: trailing", b"Content-Type: text/trailing",
                b"Cookie: a=b", b"Connection: close", b"Expect: 100-continue", b"X-Trailer: " + b"y" * 4000, b"Trailer: X-Trailer", b"a:\tb\t"):
    add(f"trailer {trailer[:30]!r}", chunked(ONE + b"0\r\n" + trailer + b"\r\n\r\n"), absent=("x-trailer", "cookie", "trailer", "a", "expect"))
add("an announced trailer", chunked(ONE + b"0\r\nX-Trailer: y\r\n\r\n", b"Trailer: X-Trailer\r\n"), absent=("x-trailer", "trailer"))
add("TE: trailers", request(b"TE: trailers\r\nConnection: TE\r\n"), absent=("te", "connection"))
add("Content-Length as a name in a chunked body", chunked(b"11\r\nContent-Length: 5\r\n" + LAST), (b"Content-Length: 5",))

# ---- targets

TARGET = CHAT.decode()
for prefix in (b"http://lb", b"http://elsewhere.example", b"http://elsewhere.example:1", b"HTTP://lb", b"https://lb", b"HttpS://lb:443", b"http://127.0.0.1:1",
               b"http://[::1]", b"http://[::1]:80", b"http://lb:", b"http://a_b.c-d.e", b"http://169.254.169.254"):
    add(f"absolute form {prefix.decode()}", request(first=line(target=prefix + CHAT)), target=TARGET)
for target, want in ((b"/" + CHAT, TARGET), (CHAT.replace(b"/", b"//"), TARGET), (CHAT.replace(b"/", b"////"), TARGET), (CHAT + b"?", None),
                     (CHAT + b"??", None), (CHAT + b"?a=/../..", f"{TARGET}?a=/../.."), (CHAT + b"?a=%2f%00%5c", f"{TARGET}?a=%2f%00%5c"),
                     (CHAT + b"?a&b=&=c&&d", f"{TARGET}?a&b=&=c&&d"), (CHAT + b"?a=b?c=d", f"{TARGET}?a=b?c=d"), (CHAT + b"?http://x/", f"{TARGET}?http://x/"),
                     (CHAT.replace(b"gpt-4o", b"gpt%2d4o"), None), (CHAT.replace(b"gpt-4o", b"g%70t-4%6F"), None), (CHAT.replace(b"gpt-4o", b"...gpt"), None),
                     (CHAT.replace(b"gpt-4o", b"gpt%20x"), None), (CHAT.replace(b"gpt-4o", b"gpt:x@y"), None), (CHAT + b"?" + b"x" * 20_000, None)):
    add(f"target {target[:60].decode()}", request(first=line(target=target)), target=want)

# ---- hosts, versions, methods

for value in (b"lb", b"lb:80", b"LB.Example", b"lb.", b"127.0.0.1", b"127.0.0.1:1", b"[::1]", b"[::1]:8080", b"lb:", b"xn--bcher-kva.example", b"a_b", b"a-b.c-d",
              b"elsewhere.example", b"\t lb \t", b"1", b"a" * 255):
    add(f"Host:{value[:30].decode()}", request(host=b"Host:" + value + b"\r\n"))
for name in (b"host", b"HOST", b"hOST"):
    add(f"{name.decode()}", request(host=name + b": lb\r\n"))
add("HTTP/1.0", request(first=line(version=b"HTTP/1.0")), alive=False)
add("HTTP/1.0 without a Host", request(first=line(version=b"HTTP/1.0"), host=b""), alive=False)
add("HTTP/1.0 that is kept", request(b"Connection: keep-alive\r\n", first=line(version=b"HTTP/1.0")))
add("HTTP/1.0 that is kept, in capitals", request(b"Connection: Keep-Alive\r\n", first=line(version=b"HTTP/1.0")))
add("HTTP/1.0 with an expectation", request(b"Expect: 100-continue\r\n", first=line(version=b"HTTP/1.0")), alive=False)
for method in ("GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"):
    add(f"{method}", request(first=line(method.encode(), b"/openai/v1/files"), body=b"", framing=b""), (b"",), (method,))

# ---- fields

for value in (b"keep-alive", b"Keep-Alive", b"", b",", b",,keep-alive,,", b"x-custom", b"X-Custom, keep-alive", b"\tkeep-alive\t", b"x-absent", b"upgrade", b"TE, X-Custom"):
    add(f"Connection: {value.decode()}", request(b"X-Custom: y\r\nConnection: " + value + b"\r\n"), absent=("connection", *(["x-custom"] if b"ustom" in value else [])))
for value in (b"close", b"CLOSE", b"close, keep-alive", b"keep-alive, close", b"x-custom,close", b",close,"):
    add(f"Connection: {value.decode()}", request(b"Connection: " + value + b"\r\n"), alive=False, absent=("connection",))
add("two Connection fields", request(b"Connection: x-custom\r\nX-Custom: y\r\nConnection: keep-alive\r\n"), absent=("x-custom", "connection"))
for field, seen in ((b"X-Custom:", ("x-custom", "")), (b"X-Custom: \t ", ("x-custom", "")), (b"X-Custom:y", ("x-custom", "y")), (b"X-Custom:\t y \t", ("x-custom", "y")),
                    (b"X-Custom: a  b\tc", ("x-custom", "a  b\tc")), (b"X-Custom: a:b::c", ("x-custom", "a:b::c")), (b"X-Custom: \xe9\xff\x80", ("x-custom", "\xe9\xff\x80")),
                    (b"X-Custom: \"a, b\"; c=d", ("x-custom", '"a, b"; c=d')), (b"!#$%&'*+-.^_`|~1aA: y", ("!#$%&'*+-.^_`|~1aa", "y")), (b"x: y", ("x", "y")),
                    (b"X-Custom: " + b"y" * 20_000, ("x-custom", "y" * 20_000)), (b"X" * 5000 + b": y", ("x" * 5000, "y")),
                    (b"X-Custom: " + bytes(range(33, 127)), ("x-custom", bytes(range(33, 127)).decode())), (b"traceparent: 00-a-b-01", ("traceparent", "00-a-b-01")),
                    (b"Content-Lengths: 9", ("content-lengths", "9")), (b"Content_Length: 9", ("content_length", "9")), (b"X-Content-Length: 9", ("x-content-length", "9")),
                    (b"Transfer_Encoding: chunked", ("transfer_encoding", "chunked")), (b"Hosts: elsewhere", ("hosts", "elsewhere"))):
    add(f"field {field[:40]!r}", request(field + b"\r\n"), present=(seen,))
add("120 fields", request(b"Accept-X: y\r\n" * 120))
add("spaces of 20 kB", request(b"X-Custom:" + b" " * 20_000 + b"y\r\n"), present=(("x-custom", "y"),))
add("an empty line in front", b"\r\n" + request())
for value in (b"100-continue", b"100-Continue", b" 100-continue "):
    add(f"Expect:{value.decode()} with its body", request(b"Expect:" + value + b"\r\n"), absent=("expect",))
add("Expect without a body", request(b"Expect: 100-continue\r\n", b"", framing=b""), (b"",))
add("Expect with chunks", chunked(ONE + LAST, b"Expect: 100-continue\r\n"), absent=("expect",))

# ---- several at once

GET = request(first=line(b"GET", b"/openai/v1/files"), body=b"", framing=b"")
HEAD = request(first=line(b"HEAD", b"/openai/v1/files"), body=b"", framing=b"")
for count in (2, 5, 20):
    add(f"{count} pipelined", request() * count, (BODY,) * count, ("POST",) * count)
    add(f"{count} pipelined with chunks", chunked(ONE + LAST) * count, (BODY,) * count, ("POST",) * count)
    add(f"{count} pipelined with empty lines", (b"\r\n" + request()) * count, (BODY,) * count, ("POST",) * count)
add("pipelined of all kinds", request() + GET + chunked(ONE + b"0;x\r\nX: y\r\n\r\n") + HEAD + request() + GET, (BODY, b"", BODY, b"", BODY, b""),
    ("POST", "GET", "POST", "HEAD", "POST", "GET"))
add("pipelined with a close in the middle", request() + request(b"Connection: close\r\n") + request(), (BODY, BODY), ("POST", "POST"), alive=False)
add("pipelined behind HTTP/1.0", request(first=line(version=b"HTTP/1.0")) + request(), alive=False)
add("pipelined with expectations", request(b"Expect: 100-continue\r\n") * 3, (BODY,) * 3, ("POST",) * 3)
