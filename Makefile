# The whole of what a newcomer needs: make demo, make test, make bench, make lint.

SHELL := /bin/bash
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
# Debian packages that the demo and the tests run as real parts.
PACKAGES := docker-registry prometheus git
TEST_PACKAGES := $(PACKAGES) openssl openssh-client openssh-server gnupg haproxy nats-server ca-certificates tzdata

.PHONY: demo test bench lint demo-parts test-parts

demo: demo-parts
	$(CARGO) build --release --locked --bin slipway
	$(or $(CARGO_TARGET_DIR),target)/release/slipway demo $(DEMO)

test: test-parts
	$(MAKE) --no-print-directory lint
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace

bench: demo-parts
	$(CARGO) bench --locked

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

demo-parts:
	@.ci/install $(PACKAGES)

test-parts:
	@.ci/install $(TEST_PACKAGES)
	@.ci/envoy
	@tests/kube/build.sh >/dev/null
