# The one door for everybody who works on pgbackup: `make help` lists what it opens.
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench release clean

# Plain shell scripts have no ending here: these are all of them.
SCRIPTS = install update uninstall .ci/run $(filter-out %.sql %.md sandbox/stand-in sandbox/postgres-image,$(wildcard sandbox/*)) \
	sandbox/postgres-image/entrypoint.sh sandbox/stand-in/commands $(wildcard sandbox/stand-in/bin/*) \
	$(wildcard sandbox/stand-in/*plugins/*/*) benches/run

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## plays the story on real parts: 562 users, none, 562 again (KEEP=1 leaves it running)
	@sandbox/demo

test: ## all tests, against real PostgreSQL containers and a real S3 server (T=name runs some)
	@sandbox/test $(T)

lint: ## formatting, clippy, shellcheck
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	@command -v shellcheck >/dev/null || { echo ' !     shellcheck is missing: apt-get install shellcheck' && exit 1; }
	shellcheck $(wildcard $(SCRIPTS))

bench: ## the figures of the README's performance section, measured on this machine
	@benches/run $(ARGS)

release: ## an optimised binary in dist/, with its SHA-256
	cargo build --locked --release
	mkdir -p dist
	cp target/release/pgbackup dist/pgbackup-$$(uname -m)
	cd dist && sha256sum pgbackup-$$(uname -m) | tee SHA256SUMS

clean: ## removes build results and every sandbox of this machine's defaults
	rm -rf target dist
	@sandbox/down
	@SANDBOX_ROOT=/var/lib/pgbackup-sandbox-demo sandbox/down
	@SANDBOX_ROOT=/var/lib/pgbackup-sandbox-test sandbox/down
