# A station's or an officer's machine in a container: birthmark with PKCS#11 support, SoftHSM2 for trials, no compiler.
#   docker build -t birthmark .
#   docker run -it --rm --device /dev/ttyUSB0 -v "$PWD/station:/home/station/station" birthmark \
#       provision --config station/birthmark.yaml --port /dev/ttyUSB0
# The same commit, bases and Debian packages give the same image, to the byte (scripts/image). Who wants that for good names the
# bases by digest: --build-arg GO_IMAGE=golang@sha256:... --build-arg DEBIAN_IMAGE=debian@sha256:...
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git, which says of which commit the program is.
COPY . .
RUN git config --global --add safe.directory /src \
    && go build -trimpath -ldflags '-s -w' -o /birthmark .

FROM ${DEBIAN_IMAGE}
# Removed is what says when this ran: logs, caches, and the day of the account's making.
RUN apt-get update \
    && apt-get install -y --no-install-recommends softhsm2 \
    && useradd --create-home --groups dialout,softhsm station \
    && sed -i 's/^\(station:[^:]*\):[0-9]*:/\1::/' /etc/shadow \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/ldconfig/aux-cache /var/log/* /etc/shadow- /etc/passwd- /etc/group- /etc/gshadow-
COPY --from=build /birthmark /usr/local/bin/birthmark
ENV BIRTHMARK_MODULE=/usr/lib/softhsm/libsofthsm2.so
# By name: a numeric USER would lose the group dialout, and with it the serial ports. ("operator" is a group of Debian's own.)
USER station
WORKDIR /home/station
ENTRYPOINT ["birthmark"]
