# Describes the image. `cargo xtask docker-build` builds the final stage itself, without Docker;
# `docker build .` builds all of it. No BuildKit syntax: the classic builder must be able to read it too.

# A mirror or a digest works too: --build-arg RUST_IMAGE=mirror.example.com/rust:1.95.0-slim-bookworm
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
FROM ${RUST_IMAGE} AS build
# Otherwise rustup would fetch the components that `rust-toolchain.toml` lists for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
# The same flags as `cargo xtask docker-build`: linked statically, and no path of the machine in the binary.
ENV RUSTFLAGS="-Ctarget-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/usr/local/rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu=/rust"
WORKDIR /workspace
COPY . .
# `--target` keeps the flags away from build scripts and macros, which cannot be static.
RUN cargo build --release --locked --package app --bin app --target x86_64-unknown-linux-gnu

FROM scratch
# Accounts and name service. No certificates: the app brings its own.
COPY app/rootfs/ /
COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/app /app/app
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
# There is no shell: the app checks itself.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 CMD ["/app/app", "healthcheck"]
ENTRYPOINT ["/app/app"]
CMD ["serve"]
# Last, so that a new commit rebuilds nothing above it.
ARG VERSION=unknown
ARG COMMIT=unknown
ENV APP_COMMIT=$COMMIT
LABEL org.opencontainers.image.title="Launchway" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$COMMIT
