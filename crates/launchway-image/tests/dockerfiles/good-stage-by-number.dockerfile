FROM rust
FROM scratch
COPY --from=0 /w/release/app /app/app
