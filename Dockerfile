# The server with ffmpeg, as an unprivileged user.
#
#   docker build -t reprise .
#
# deploy/compose.yaml runs it together with PostgreSQL.
#
# ffmpeg runs behind limits, Landlock and seccomp in it. Docker allows no namespaces
# to containers, so these are missing: see "The sandbox" in docs/operations.md.

FROM golang:1.26-bookworm AS build
WORKDIR /src
# The modules first: they change rarely, so their layer is kept.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The history is not copied, so the version is given: --build-arg VERSION=v1.2.3
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o /out/reprise ./cmd/reprise

FROM debian:bookworm-slim
# curl is for the health check below.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl ffmpeg \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/reprise --no-create-home reprise \
 && install -d -o reprise -g reprise -m 0700 /var/lib/reprise
COPY --from=build /out/reprise /usr/local/bin/reprise

# By number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/reprise
# Inside a container every address is needed to be reached; which ports are
# published is the container's owner's choice. The admin port (9090) asks for no
# token: never publish it.
ENV REPRISE_ADDR=0.0.0.0:8080 \
    REPRISE_ADMIN_ADDR=0.0.0.0:9090 \
    REPRISE_STORAGE_URL=file:///var/lib/reprise/storage
VOLUME /var/lib/reprise
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:9090/healthz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["reprise"]
CMD ["serve"]
