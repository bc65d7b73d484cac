# The commands of the project. Each target's steps are in Scripts/.
.PHONY: help setup demo torture bench peers ratios regression test integrations storm fuzz aarch64 sanitize docs man tutorials format lint

help:    ## this list
	@sed -n 's/^\([a-z0-9]*:.*\)##/\1/p' Makefile

setup:   ## installs what is missing; asks for nothing when all is there
	@Scripts/setup

demo:    ## modules come and go under live traffic; ARGS="--seconds 5 --format json"
	@Scripts/setup && Scripts/demo $(ARGS)

torture: ## stresses grace periods until one is too short; ARGS="--flavor all --seconds 60 --format json"
	@Scripts/setup && Scripts/torture $(ARGS)

bench:   ## this library beside what you would use instead, fifteen experiments; ARGS="--only read --quick"
	@Scripts/setup && Scripts/bench $(ARGS)

peers:   ## installs what the benchmarks also compare with: ConcurrencyKit, DPDK
	@Scripts/setup peers

ratios:  ## only the figures that are promised, and their peers; ARGS="--only read,retire --format json"
	@Scripts/setup && Scripts/bench --promised $(ARGS)

regression: ## what the hot paths retain, release and allocate, against checked-in thresholds
	@Scripts/setup && Benchmarks/Regression/check

test:    ## every test, the check of the read path's machine code, the manual pages, the tutorials
	@Scripts/setup man && Scripts/test

integrations: ## the packages for SwiftNIO, swift-log and others, each built and tested by itself
	@Scripts/setup && Scripts/integrations

storm:   ## modules come and go under every unload scheme, 60 s each, and 10,000 times; SECONDS=10
	@Scripts/setup && Scripts/storm $(SECONDS)

fuzz:    ## what reads bytes from others, guided by coverage, 300 s each; then planted bugs; SECONDS=60
	@Scripts/setup && Scripts/fuzz $(SECONDS) && Scripts/fuzz mutants

aarch64: ## the restartable sequence for aarch64, cross-compiled and emulated
	@Tests/Aarch64/check

sanitize: ## the library's tests under the thread, address and undefined-behavior sanitizers
	@Scripts/setup && Scripts/sanitize

docs:    ## the documentation as a web site, checked, in .build-docs/site; ARGS="serve"
	@Scripts/setup && Scripts/docs $(ARGS)

man:     ## the manual pages of quiesce, checked, in .build-man/man1
	@Scripts/setup man && Scripts/man

tutorials: ## follows the tutorials in an empty folder, word by word
	@Scripts/setup && Scripts/tutorials

format:  ## formats every Swift file
	@Scripts/swift-files | xargs -0 swift format -i

lint:    ## formatting, documentation and the direction of imports
	@Scripts/lint
