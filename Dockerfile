# A station or officer's machine in a container: birthmark with PKCS#11 support, SoftHSM2 for trials, no compiler.
#   docker build -t birthmark .
#   docker run -it --rm --device /dev/ttyUSB0 -v "$PWD/station:/station" birthmark provision --config /station/birthmark.yaml --port /dev/ttyUSB0
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -trimpath -o /birthmark .

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends softhsm2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --groups dialout station
COPY --from=build /birthmark /usr/local/bin/birthmark
# By name: a numeric USER would lose the group dialout, and with it the serial ports. ("operator" is a group of Debian's own.)
USER station
WORKDIR /home/station
ENTRYPOINT ["birthmark"]
