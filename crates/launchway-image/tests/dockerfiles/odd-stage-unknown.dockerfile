FROM rust AS build
FROM scratch
COPY --from=later /w/release/app /app/app
