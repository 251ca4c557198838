# Every target installs the Debian packages that it misses (scripts/bootstrap), with sudo where not root.

BUILD := build

.PHONY: all build demo test asan lib firmware demo-board powercut hsmfaults psa lint nocgo size bench fuzz proofs ct coverage release image clean

all: build

build:
	scripts/bootstrap build
	go build -trimpath -o $(BUILD)/birthmark .

demo: build
	scripts/bootstrap demo
	scripts/demo

test:
	scripts/bootstrap test
	scripts/test

# The unit's C code under AddressSanitizer, driven by its Go tests.
asan:
	scripts/bootstrap test
	go test -asan ./device

# The library for hosts: shared, static, headers, pkg-config.
lib:
	scripts/bootstrap lib
	scripts/lib $(BUILD)/lib

# A whole firmware for QEMU's lm3s6965evb; IMAGE=FILE: with the constants of 'birthmark ca bundle --c'.
firmware:
	scripts/bootstrap size
	go run ./scripts/size -firmware

# Boards that run it: provisioned, paired, one replaced.
demo-board: build firmware
	scripts/bootstrap demo
	scripts/demo-board

# Power cuts at writes of a whole provisioning, of simulated units and of boards; EVERY=1: at each write, which takes an hour.
powercut:
	scripts/bootstrap test
	go run ./scripts/powercut $(if $(EVERY),-every)

# Faults at PKCS#11 calls of the commands that use tokens; EVERY=1: each fault at each call.
hsmfaults:
	scripts/bootstrap test
	go run ./scripts/hsmfaults $(if $(EVERY),-every)

# The port to PSA Crypto, on the Mbed TLS of Debian, and the library for hosts with its example.
psa:
	scripts/bootstrap lib
	go test -tags psa ./device -run PSA

lint:
	scripts/bootstrap lint
	scripts/lint

# The program without HSM support and simulated units, for machines without a C compiler.
nocgo:
	CGO_ENABLED=0 go build -trimpath -o $(BUILD)/birthmark-nocgo .

size:
	scripts/bootstrap size
	go run ./scripts/size

# Eva over everything that reads bytes from outside, for every length; REDUCED=1: the shortest and the longest inputs.
proofs:
	scripts/bootstrap proofs
	go run ./scripts/proofs $(if $(REDUCED),-reduced)

# Lines and branches that the Go tests and the fuzz corpora reach.
coverage:
	scripts/bootstrap coverage
	scripts/coverage

# Constant time on secrets.
ct:
	scripts/bootstrap ct
	scripts/ct

bench:
	scripts/bootstrap test
	go run ./scripts/bench

# Each fuzz target, Go's and the C library's, for FUZZTIME, one after the other.
FUZZTIME ?= 30s
fuzz:
	scripts/bootstrap fuzz
	scripts/fuzz $(FUZZTIME)

# What is published of a commit, built twice: archives, SBOMs, checksums, provenance.
release:
	scripts/bootstrap release
	scripts/release $(BUILD)/release

# The container image, built twice and tried, without an engine; BASES=debian: also without a registry.
image:
	scripts/bootstrap image
	scripts/image

clean:
	rm -rf $(BUILD)
