FROM rust AS build
FROM scratch
COPY *.toml /etc/
COPY --from=build /w/release/app /app/app
