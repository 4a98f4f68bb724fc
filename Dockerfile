# The image holds the two programs, the libraries they load, the CA bundle and nothing else: no shell, no package manager.
FROM debian:bookworm-slim AS build
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates cmake gcc libc6-dev libcurl4-openssl-dev libevent-dev libjansson-dev libssl-dev make ninja-build pkg-config && \
    rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY CMakeLists.txt LICENSE ./
COPY include include
COPY src src
RUN cmake -S . -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DAOAI_TESTS=OFF && \
    cmake --build /build && \
    DESTDIR=/image cmake --install /build --prefix /usr --strip

# The libraries at the paths where the loader looks for them, each package's licence beside them, and the few files of
# /etc that libc and OpenSSL read. libcurl is loaded by name when an identity is configured: ldd has to be told. Names are resolved inside libc: no NSS modules are needed.
RUN set -eu; \
    curl=$(find /usr/lib -name libcurl.so.4 -path "*$(gcc -print-multiarch)*"); \
    ldd /image/usr/bin/aoai-lb /image/usr/bin/aoai-sim "$curl" | grep -o '/[^ :]*\.so[^ :]*' | sort -u >/build/libraries; \
    xargs cp -L --parents -t /image </build/libraries; \
    for library in $(cat /build/libraries); do \
      package=$(dpkg-query -S "*/${library##*/}" | sed 's/:.*//; q'); \
      install -D -m 644 "/usr/share/doc/$package/copyright" "/image/usr/share/doc/$package/copyright"; \
    done; \
    install -D -m 644 LICENSE /image/usr/share/doc/aoai-lb/copyright; \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' >/image/etc/passwd; \
    echo 'nonroot:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    install -d /image/etc/aoai-lb

FROM scratch
LABEL org.opencontainers.image.title="aoai-lb" \
      org.opencontainers.image.description="Load balancer for Azure OpenAI" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /image /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/aoai-lb", "--health"]
ENTRYPOINT ["/usr/bin/aoai-lb"]
